"""perf_analyzer gets its libraries without a right to install system packages."""

import os
import subprocess
import sys

import pytest

from perf.peers import perf_analyzer
from perf.peers.environments import PeerMissing

PROGRAM = """#!/bin/sh
test -f "${LD_LIBRARY_PATH%%:*}/libb64.so.0d" || {
  echo 'error while loading shared libraries: libb64.so.0d: cannot open shared object file' >&2; exit 127; }
echo "$LD_LIBRARY_PATH" "$@"
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An environment whose program wants libb64, on a machine where neither is on PATH or in the packages."""
    made = tmp_path / "perf_analyzer"
    (made / "bin").mkdir(parents=True)
    (made / "bin" / "perf_analyzer").write_text(PROGRAM)
    (made / "bin" / "perf_analyzer").chmod(0o755)
    monkeypatch.setattr(perf_analyzer, "environment", lambda name: made)
    monkeypatch.setattr(perf_analyzer.shutil, "which", lambda name: None)
    monkeypatch.setattr(perf_analyzer.sysconfig, "get_path", lambda name: str(tmp_path / "packages"))
    monkeypatch.setattr(perf_analyzer, "add", lambda name, requirements: pytest.fail("nothing has to be installed"))
    return made


def wheel(packages):
    library = packages / "nvidia_pytriton.libs" / "libb64-98cb6333.so.0d"
    library.parent.mkdir(parents=True)
    library.write_bytes(b"library")


def test_the_embedded_tritons_copy_is_taken_and_the_program_runs_from_anywhere(folder, tmp_path):
    wheel(tmp_path / "packages")
    program = perf_analyzer.binary()
    assert (folder / "libraries" / "libb64.so.0d").read_bytes() == b"library"
    # Through a link, from another folder, and with libraries of the user's own behind.
    (tmp_path / "link").symlink_to(program)
    done = subprocess.run(
        [tmp_path / "link", "-m", "two words"], cwd="/", env={**os.environ, "LD_LIBRARY_PATH": "/mine"},
        capture_output=True, text=True, timeout=20, check=True,
    )  # fmt: skip
    assert done.stdout == f"{folder}/libraries:/mine -m two words\n"


def test_without_the_embedded_triton_its_wheel_is_installed_beside(folder, monkeypatch):
    def add(name, requirements):
        assert requirements == ["--no-deps", perf_analyzer.LIBB64_WHEEL]
        wheel(folder / "lib" / "python3.11" / "site-packages")

    monkeypatch.setattr(perf_analyzer, "add", add)
    assert perf_analyzer.binary() == folder / "perf_analyzer"


def test_where_it_cannot_be_had_one_line_names_the_package(folder, monkeypatch, tmp_path):
    def add(name, requirements):
        raise PeerMissing("no network")

    monkeypatch.setattr(perf_analyzer, "add", add)
    with pytest.raises(PeerMissing, match=r"^perf_analyzer does not start: [^\n]*libb64[^\n]*apt install libb64-0d\)$"):
        perf_analyzer.binary()
    # The next time it is looked for again.
    wheel(tmp_path / "packages")
    assert perf_analyzer.binary().is_file()


def test_the_real_library_is_loaded_by_the_name_that_the_program_asks_for(tmp_path):
    if not perf_analyzer._packaged(tmp_path, perf_analyzer.LIBRARIES[perf_analyzer.LIBB64]):
        pytest.skip("the embedded Triton is not installed")
    perf_analyzer.collect_libraries(tmp_path)
    script = "import ctypes; print(ctypes.CDLL('libb64.so.0d').base64_encode_value(1))"
    variables = {**os.environ, "LD_LIBRARY_PATH": str(tmp_path / "libraries")}
    done = subprocess.run([sys.executable, "-c", script], env=variables, capture_output=True, text=True, check=True)
    assert done.stdout == f"{ord('B')}\n"
