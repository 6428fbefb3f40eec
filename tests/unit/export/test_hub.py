"""Checkpoints from a hub: downloaded once, resumed, refused in one line. The hub is ours, the client is the library."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest

from export import hub as hub_module
from export import memory
from export.download import WAITS_S
from export.errors import ExportError
from export.hub import NEEDED, resolve
from export.memory import peak_bytes, require_memory
from tests.conftest import ROOT, TINY
from tests.unit.export.hub_server import COMMIT, Hub, serving

# The command alone, without its waits between tries.
IMPATIENT = """
import sys
from export import download
from export.__main__ import main
download.WAITS_S = (0.0,) * len(download.WAITS_S)
sys.exit(main())
"""
# Only what a checkpoint's name leads to, without the export itself.
RESOLVE = """
import sys
from export import download
from export.errors import ExportError
from export.hub import resolve
download.WAITS_S = (0.0,) * len(download.WAITS_S)
try:
    print(resolve(sys.argv[1]).folder)
except ExportError as error:
    sys.exit(f"error: {error}")
"""


@contextlib.contextmanager
def hub_of_tiny(tmp_path):
    """Tiny as acme/tiny, beside files that no export reads."""
    folder = tmp_path / "tiny"
    shutil.copytree(TINY, folder)
    (folder / "README.md").write_text("# Tiny")
    (folder / "pytorch_model.bin").write_bytes(bytes(200_000))
    with serving(Hub({"acme/tiny": folder, "acme/gated": folder}, gated={"acme/gated"})) as served:
        yield served


def runner(tmp_path):
    """A function that runs the library in a process of its own (it reads its variables once) with an empty cache."""

    def run(hub, *words, code=RESOLVE, umask=-1, **variables):
        environment = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
        environment |= {
            "HF_HOME": str(tmp_path / "cache"),
            "HF_ENDPOINT": hub.url,
            "NO_PROXY": "127.0.0.1",
            **variables,
        }
        return subprocess.run(
            [sys.executable, "-c", code, *map(str, words)],
            cwd=ROOT, env=environment, umask=umask, capture_output=True, text=True, timeout=110, check=False,
        )  # fmt: skip

    return run


@pytest.fixture
def hub(tmp_path):
    with hub_of_tiny(tmp_path) as served:
        yield served


@pytest.fixture
def run(tmp_path):
    return runner(tmp_path)


@dataclass
class Export:
    """What an export from a hub printed and left."""

    hub: Hub
    run: Callable
    folder: Path
    done: subprocess.CompletedProcess

    @property
    def repository(self):
        return self.folder / "nested" / "repository"


@pytest.fixture(scope="module")
def broken_off(tmp_path_factory):
    """By somebody whose files nobody else may read, where the connection broke off once."""
    folder = tmp_path_factory.mktemp("export")
    with hub_of_tiny(folder) as hub:
        hub.cuts = 1
        run = runner(folder)
        words = ("all", "acme/tiny", "--repository", folder / "nested" / "repository")
        yield Export(hub, run, folder, run(hub, *words, code=IMPATIENT, umask=0o077))


def refused(done, *parts):
    """It failed with one line, which says all of this."""
    assert done.returncode == 1, done.stdout
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1, done.stderr
    for part in parts:
        assert part in done.stderr


def test_an_export_from_the_hub_goes_on_where_the_connection_broke(broken_off):
    hub, run, repository, done = broken_off.hub, broken_off.run, broken_off.repository, broken_off.done
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert hub.ranges("model.safetensors") == [None, "bytes=1000000-"]
    # One line for each file, where no terminal is there for a bar.
    assert sorted(line.split()[1] for line in done.stdout.splitlines() if line.startswith("hub ")) == sorted(
        path.name for path in TINY.iterdir()
    )
    snapshot = broken_off.folder / "cache" / "hub" / "models--acme--tiny" / "snapshots" / COMMIT
    assert {path.name for path in snapshot.iterdir()} == {path.name for path in TINY.iterdir()}
    assert all((snapshot / path.name).read_bytes() == path.read_bytes() for path in TINY.iterdir())
    stamp = json.loads((repository / "decoder" / "1" / "checkpoint" / "export.json").read_text())
    assert (stamp["name"], stamp["source"], stamp["revision"]) == ("tiny", "acme/tiny", COMMIT)
    # The same again costs no request.
    before = list(hub.asked)
    again = run(hub, "ensure", "acme/tiny", "--repository", repository, code=IMPATIENT)
    assert (again.returncode, again.stdout, hub.asked) == (0, "", before)


def test_a_strict_umask_keeps_no_server_out(broken_off):
    """The server is often another user than the exporter."""
    nested = broken_off.repository.parent
    made = {path: path.lstat().st_mode & 0o777 for path in (nested, *nested.rglob("*"))}
    assert any(path.name == "model.safetensors" for path in made)
    for path, mode in made.items():
        assert mode == (0o755 if path.is_dir() else 0o644), path


def test_a_reset_connection_is_no_different(hub, run):
    hub.cuts, hub.reset = 1, True
    done = run(hub, "acme/tiny")
    assert done.returncode == 0, done.stderr
    first, second = hub.ranges("model.safetensors")
    # What the kernel had not handed over is lost with the connection; the rest is not asked for again.
    assert first is None
    assert second is None or second.startswith("bytes=")


def test_a_connection_that_never_heals_is_told_and_what_came_is_kept(hub, run, tmp_path):
    hub.cuts = 1_000
    done = run(hub, "acme/tiny")
    refused(done, "model.safetensors broke off at 1.0 of 2.8 MB", "run the same command again")
    # The one that broke, and a try after each wait.
    assert len(hub.ranges("model.safetensors")) == 1 + len(WAITS_S)
    hub.cuts, hub.asked = 0, []
    done = run(hub, "acme/tiny")
    assert done.returncode == 0, done.stderr
    assert hub.ranges("model.safetensors") == ["bytes=1000000-"]
    assert "1.0 kept" in done.stdout
    assert not list((tmp_path / "cache").rglob("*.partial"))


def test_damage_is_noticed_and_not_kept(hub, run, tmp_path):
    hub.cuts = 1_000
    refused(run(hub, "acme/tiny"))
    partial = next((tmp_path / "cache").rglob("*.partial"))
    partial.write_bytes(bytes(partial.stat().st_size))
    hub.cuts = 0
    refused(run(hub, "acme/tiny"), "model.safetensors came damaged")
    assert run(hub, "acme/tiny").returncode == 0


def test_without_the_hub_the_cache_serves(hub, run):
    assert run(hub, "acme/tiny").returncode == 0
    offline = run(hub, "acme/tiny", HF_HUB_OFFLINE="1")
    assert offline.returncode == 0, offline.stderr
    assert "from the cache" in offline.stdout
    gone = run(Hub({}, url="http://127.0.0.1:1"), "acme/tiny")
    assert gone.returncode == 0, gone.stderr
    assert offline.stdout.splitlines()[-1] == gone.stdout.splitlines()[-1]


def test_a_hub_that_cannot_be_reached_is_told(hub, run):
    refused(run(Hub({}, url="http://127.0.0.1:1"), "acme/tiny"), "http://127.0.0.1:1 cannot be asked for acme/tiny")
    refused(run(hub, "acme/tiny", HF_HUB_OFFLINE="1"), "HF_HUB_OFFLINE is set", "not in the cache")
    assert hub.asked == []


def test_refusals_say_what_to_do(hub, run, tmp_path):
    refused(run(hub, "acme/nowhere"), "acme/nowhere is neither a folder nor at", "spelled right", "set HF_TOKEN")
    refused(run(hub, "acme/gated"), "acme/gated is gated: accept its terms at", "set HF_TOKEN")
    refused(run(hub, "acme/gated", HF_TOKEN="hf_mine"), "acme/gated is gated", "not of one who has access")
    assert hub.asked[-1][3] == "Bearer hf_mine"
    refused(run(hub, "acme/--no"), "is neither a folder nor a hub id")
    assert not list(tmp_path.rglob("*.partial"))


def test_a_disk_that_is_too_small_is_told_before_anything_is_downloaded(hub, run):
    hub.claimed = {"model.safetensors": 10**15}
    refused(run(hub, "acme/tiny"), "needs 1000000000 MB; its disk has")
    assert not any("/resolve/" in path for _, path, _, _ in hub.asked)


def test_the_memory_of_an_export_is_told_before(monkeypatch):
    # As measured: export/README.md.
    assert peak_bytes(1_560_000_000) == pytest.approx(4.7e9, rel=0.02)
    assert peak_bytes(4_070_000_000) == pytest.approx(8.4e9, rel=0.02)
    monkeypatch.setattr(memory, "available_bytes", lambda: 8_000_000_000)
    require_memory("Qwen/Qwen3-ASR-0.6B", 1_560_000_000)
    with pytest.raises(ExportError, match=r"1\.7B takes about 8\.5 GB of memory; 8\.0 GB are available"):
        require_memory("Qwen/Qwen3-ASR-1.7B", 4_070_000_000)


def test_memory_is_that_of_the_container(monkeypatch, tmp_path):
    (tmp_path / "max").write_text("max\n")
    monkeypatch.setattr(memory, "LIMITS", (tmp_path / "max",))
    machine = memory.available_bytes()
    assert machine is not None
    assert machine > 1 << 24
    (tmp_path / "max").write_text(f"{1 << 24}\n")
    assert memory.available_bytes() == 1 << 24


@pytest.mark.parametrize("name", ["./nowhere", "/nowhere/at/all", "nowhere", "a/b/c", "acme/", "acme/t iny"])
def test_a_name_that_is_neither_path_nor_id_is_refused(name):
    with pytest.raises(ExportError, match="neither a folder nor a hub id"):
        resolve(name)


def test_a_folder_stays_a_folder():
    source = resolve(str(TINY))
    assert (source.folder, source.revision) == (TINY, None)


def test_all_of_tiny_and_no_other_format_is_needed():
    assert all(NEEDED.fullmatch(path.name) for path in TINY.iterdir() if path.name != "README.md")
    shards = ("model-00001-of-00002.safetensors", "model.safetensors.index.json", "vocab.json", "merges.txt")
    assert all(NEEDED.fullmatch(name) for name in shards)
    others = (
        "pytorch_model.bin",
        "model.onnx",
        "model.gguf",
        "README.md",
        ".gitattributes",
        "original/model.safetensors",
    )
    assert not any(NEEDED.fullmatch(name) for name in others)


@pytest.mark.parametrize("blob", ["../../escaped", "/tmp/escaped", "0" * 39, "A" * 40, None])
def test_a_hub_does_not_choose_where_files_go(blob):
    sibling = SimpleNamespace(rfilename="model.safetensors", size=1, blob_id=blob, lfs=None)
    with pytest.raises(ExportError, match="no full hub"):
        hub_module._needed("acme/tiny", SimpleNamespace(siblings=[sibling]))
