"""What several files of tests export alike is exported once, by whichever process of tests comes first."""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path

import pytest

from export.checkpoint import Checkpoint
from export.encoder.onnx_export import Verified, export_encoder
from tests.conftest import TINY


class Encoders:
    """The encoder of tiny by precision: not to be changed, as others read the same files."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(exist_ok=True)

    def path(self, precision: str) -> Path:
        """Of model.onnx, which is all that its folder holds."""
        return self._exported(precision)[0]

    def verified(self, precision: str) -> Verified:
        """What the export found when it compared the graph with PyTorch."""
        return self._exported(precision)[1]

    def _exported(self, precision: str) -> tuple[Path, Verified]:
        path, record = self._folder / precision / "model.onnx", self._folder / f"{precision}.json"
        with (self._folder / f"{precision}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not record.exists():
                record.write_text(json.dumps(vars(export_encoder(Checkpoint(TINY), path, precision))))
        return path, Verified(**json.loads(record.read_text()))


@pytest.fixture(scope="session")
def encoders(tmp_path_factory):
    folder = tmp_path_factory.getbasetemp()
    # Each process of pytest-xdist has a folder of its own inside of the run's.
    return Encoders((folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder) / "encoders")
