"""The Triton of the PyPI wheel: where its server lies, and its Python backend for this interpreter."""

from __future__ import annotations

import importlib.util
import os
import sys
from importlib.metadata import version
from pathlib import Path


class TritonError(RuntimeError):
    """The embedded Triton could not be started; the message says why and where its log is."""


def triton_folder() -> Path:
    """The folder that has the server's `bin` and backends. Raises TritonError where it is not installed."""
    # Found without being imported: only the files are wanted.
    spec = importlib.util.find_spec("pytriton")
    if spec is None or not spec.submodule_search_locations:
        raise TritonError("no embedded Triton: install it with `make setup`, or set ASR_TRITON_URL to a running one")
    return Path(spec.submodule_search_locations[0]) / "tritonserver"


def prepare_backends(cache_dir: Path) -> Path:
    """A backend directory with the Python backend and this interpreter's stub; returns its path.

    Raises TritonError where the wheel has no stub for this version of Python, or NumPy is one it cannot work with.
    """
    if int(version("numpy").split(".")[0]) >= 2:
        raise TritonError(
            f"the embedded Triton reads and writes wrong tensors with NumPy {version('numpy')}: use NumPy 1.26 "
            "(Python 3.10 to 3.12), or set ASR_TRITON_URL to a Triton that runs elsewhere"
        )
    triton = triton_folder()
    python_version = f"{sys.version_info.major}.{sys.version_info.minor}"
    links = {
        "libtriton_python.so": triton / "backends" / "python" / "libtriton_python.so",
        "triton_python_backend_utils.py": triton / "backends" / "python" / "triton_python_backend_utils.py",
        "triton_python_backend_stub": triton / "python_backend_stubs" / python_version / "triton_python_backend_stub",
    }
    for target in links.values():
        if not target.exists():
            raise TritonError(f"the embedded Triton has no {target.name} for Python {python_version}")
    folder = cache_dir / "backends" / f"py{python_version}"
    python = folder / "python"
    python.mkdir(parents=True, exist_ok=True)
    for name, target in links.items():
        link = python / name
        if not link.is_symlink() or link.readlink() != target:
            # Another process may be doing the same: a rename replaces in one step.
            fresh = python / f".{name}-{os.getpid()}"
            fresh.symlink_to(target)
            fresh.replace(link)
    return folder
