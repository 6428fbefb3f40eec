"""Files of figures: refused before the work, whole or not there, and kept in part."""

import json
import os
import stat
import subprocess
import sys

import pytest

from perf import results
from perf.results import NoFigures, check_json, kept, write_json
from tests.conftest import ROOT


def test_a_new_file_gets_its_folder_and_an_empty_one_counts_as_none(tmp_path):
    path = tmp_path / "new" / "folder" / "figures.json"
    check_json(path)
    assert list(path.parent.iterdir()) == []
    path.touch()
    check_json(path)
    assert kept(path, "a.") == {}
    write_json(path, {"a.one": 1.00001, "b.two": 2})
    check_json(path)
    assert kept(path, "a.") == {"a.one": 1.0}
    check_json(None)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("{", "it is not JSON"),
        ("[1]", "it holds no JSON object"),
        ("7", "it holds no JSON object"),
        ('{"rows": [1]}', "'rows' in it is not one value"),
        ('{"a": {"b": 1}}', "'a' in it is not one value"),
        ("RIFF\xff", "it is not JSON"),
    ],
)
def test_what_is_no_flat_object_is_refused_and_left_alone(tmp_path, content, reason):
    path = tmp_path / "precious.txt"
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(NoFigures, match=reason):
        check_json(path)
    assert path.read_bytes() == content.encode("latin-1")


def test_folders_and_files_for_folders_are_refused(tmp_path):
    with pytest.raises(NoFigures, match="is a folder"):
        check_json(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(NoFigures, match="what should be its folder is a file"):
        check_json(tmp_path / "file" / "figures.json")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_what_may_not_be_written_is_refused(tmp_path):
    path = tmp_path / "figures.json"
    path.touch(0o444)
    with pytest.raises(NoFigures, match="permission denied"):
        check_json(path)
    tmp_path.chmod(0o555)
    with pytest.raises(NoFigures, match="permission denied"):
        check_json(tmp_path / "other.json")


def test_a_write_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "figures.json"
    write_json(path, {"a": 1})
    before = path.read_text()
    monkeypatch.setattr(results.Path, "replace", lambda *_: (_ for _ in ()).throw(OSError("no space")))
    with pytest.raises(OSError, match="no space"):
        write_json(path, {"a": 2})
    assert path.read_text() == before
    assert list(tmp_path.iterdir()) == [path]


def test_links_and_modes_stay(tmp_path):
    target, link = tmp_path / "target.json", tmp_path / "link.json"
    target.touch()
    target.chmod(0o640)
    link.symlink_to(target)
    check_json(link)
    write_json(link, {"a": 1})
    assert link.is_symlink()
    assert json.loads(target.read_text())["a"] == 1
    assert stat.S_IMODE(target.stat().st_mode) == 0o640


def test_a_device_is_written_and_not_replaced():
    path = results.Path("/dev/null")
    check_json(path)
    write_json(path, {"a": 1})
    assert path.is_char_device()


@pytest.mark.parametrize("command", ["asr", "decoder", "live", "encoder", "frontend", "http", "analyzer asr", "peers"])
def test_every_command_refuses_before_it_works(tmp_path, command):
    path = tmp_path / "figures.json"
    path.write_text("nonsense")
    done = subprocess.run(
        [sys.executable, "-m", "perf", *command.split(), "--json", str(path)],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stdout.startswith(f"error: {path} cannot be read as figures: it is not JSON")
    assert done.stdout.count("\n") == 1
    assert done.stderr == ""


def test_small_figures_are_not_rounded_to_none(tmp_path):
    write_json(tmp_path / "figures.json", {"a": 1.23456e-6, "b": 0.91234567, "c": 12.345678, "d": 0.0})
    found = json.loads((tmp_path / "figures.json").read_text())
    assert [found[name] for name in "abcd"] == [1.235e-6, 0.9123, 12.3457, 0.0]
