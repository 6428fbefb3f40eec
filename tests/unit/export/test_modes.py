"""What is exported can be read by every user of the machine: the server is often another one than the exporter."""

import os
import tempfile
from pathlib import Path

from export.errors import ExportError
from export.files import make_readable, require_readable, staged


def modes(folder):
    return {path: path.lstat().st_mode & 0o777 for path in folder.rglob("*")}


def test_links_lead_where_they_led_and_change_nothing_there(tmp_path):
    outside = tmp_path / "outside"
    outside.write_text("private")
    outside.chmod(0o600)
    with staged(tmp_path / "made") as folder:
        (folder / "made").mkdir(mode=0o700)
        (folder / "made" / "link").symlink_to(outside)
        (folder / "made" / "nowhere").symlink_to("nowhere")
    assert outside.stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "made" / "link").readlink() == outside
    assert (tmp_path / "made").stat().st_mode & 0o777 == 0o755


def test_folders_that_were_there_keep_their_mode(tmp_path):
    (tmp_path / "there").mkdir(mode=0o750)
    with staged(tmp_path / "there" / "file") as folder:
        (folder / "file").touch(mode=0o600)
    assert (tmp_path / "there").stat().st_mode & 0o777 == 0o750
    assert (tmp_path / "there" / "file").stat().st_mode & 0o777 == 0o644
    os.chmod(tmp_path / "there" / "file", 0o600)
    make_readable(tmp_path / "there")
    assert modes(tmp_path / "there") == {tmp_path / "there" / "file": 0o644}


def test_what_the_servers_user_cannot_read_is_named_before_it_starts():
    """As another user where this is root, who may read everything; pytest's own folder is closed to others."""
    with tempfile.TemporaryDirectory() as name:
        repository = Path(name)
        repository.chmod(0o755)
        weights = repository / "decoder" / "1" / "model.safetensors"
        weights.parent.mkdir(parents=True)
        weights.write_bytes(b"")
        (repository / "decoder" / "1" / ".unfinished").mkdir(mode=0o000)
        assert refusal(repository) == ""
        weights.chmod(0o000)
        assert str(weights) in refusal(repository)
        weights.parent.chmod(0o000)
        assert str(weights.parent) in refusal(repository)
        repository.chmod(0o000)
        assert str(repository) in refusal(repository)
        repository.chmod(0o755)
        weights.parent.chmod(0o755)


def refusal(repository):
    """What a process of another user is told."""
    told, tells = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            if os.geteuid() == 0:
                os.setuid(65_534)
            require_readable(repository)
        except ExportError as error:
            os.write(tells, str(error).encode())
        except BaseException as error:
            os.write(tells, repr(error).encode())
        finally:
            os._exit(0)
    os.close(tells)
    with os.fdopen(told) as pipe:
        text = pipe.read()
    os.waitpid(child, 0)
    return text
