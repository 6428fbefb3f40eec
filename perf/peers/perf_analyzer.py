"""Triton's perf_analyzer, and the libraries that its program wants and its wheel does not bring."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sysconfig
from pathlib import Path

from perf.peers.environments import PeerMissing, add, environment

NAME = "perf_analyzer"
# The wheel of the embedded Triton carries its own copy of libb64, whose name on Debian and Ubuntu is libb64-0d: found
# there, it needs no right to install system packages, and no distribution that has it.
LIBB64, LIBB64_WHEEL = "libb64.so.0d", "nvidia-pytriton==0.7.0"
LIBRARIES = {LIBB64: "nvidia_pytriton.libs/libb64*.so.0d", "libcudart.so.12": "nvidia/*/lib/libcudart.so.12"}
# Run by its path from anywhere, by us as by a user.
LAUNCHER = """#!/bin/sh
# perf_analyzer with the libraries beside it.
here=$(dirname "$(readlink -f "$0")")
export LD_LIBRARY_PATH="$here/libraries${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
exec "$here/bin/perf_analyzer" "$@"
"""


def binary() -> Path:
    """The perf_analyzer on PATH (NVIDIA's SDK container has it), or one in an environment of its own, with its
    libraries. PeerMissing where neither can be had."""
    found = shutil.which(NAME)
    if found:
        return Path(found)
    launcher = environment(NAME) / NAME
    if not launcher.is_file():
        collect_libraries(launcher.parent)
        launcher.write_text(LAUNCHER)
        launcher.chmod(0o755)
    done = subprocess.run([launcher, "--version"], capture_output=True, text=True, timeout=30, check=False)
    if done.returncode and done.stderr:
        # The next attempt looks for the libraries anew.
        launcher.unlink()
        hint = " (Debian and Ubuntu: apt install libb64-0d)" if "libb64" in done.stderr else ""
        raise PeerMissing(f"perf_analyzer does not start: {done.stderr.strip().splitlines()[-1]}{hint}")
    return launcher


def collect_libraries(folder: Path) -> None:
    """Copy the libraries into folder/libraries under the names that the program asks for; one that is nowhere is left
    to the system's own."""
    target = folder / "libraries"
    target.mkdir(exist_ok=True)
    if not _packaged(folder, LIBRARIES[LIBB64]):
        with contextlib.suppress(PeerMissing):
            add(folder.name, ["--no-deps", LIBB64_WHEEL])
    for name, pattern in LIBRARIES.items():
        for path in _packaged(folder, pattern)[:1]:
            shutil.copyfile(path, target / name)


def _packaged(folder: Path, pattern: str) -> list[Path]:
    """Files of installed packages: of the environment in `folder`, else of this one."""
    installed = [*folder.glob("lib/python3*/site-packages"), Path(sysconfig.get_path("platlib"))]
    return [path for packages in installed for path in sorted(packages.glob(pattern))]
