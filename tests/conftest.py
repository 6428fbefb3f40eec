"""What all tests share: where things are, and speech to send."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

from frontend.audio.decoding import decode
from tests import endings

# The same examples every time, so that a change fails by itself; HYPOTHESIS_PROFILE=random looks for new ones.
settings.register_profile("repeatable", derandomize=True)
settings.register_profile("random", print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))

# Texts and tokens are compared exactly, so the CPU computes, whatever else there is; and several servers run at a time.
os.environ.setdefault("ASR_DEVICE", "cpu")
os.environ.setdefault("ASR_TRITON_GRPC_PORT", "0")
# PyTorch's threads wait for each other by spinning: for networks as small as these they cost more than they bring, and
# two processes of tests have two cores. Read when torch is first imported, here and in the processes that tests start.
os.environ.setdefault("OMP_NUM_THREADS", "1")

ROOT = Path(__file__).resolve().parent.parent
RECORDINGS = ROOT / "perf" / "recordings"
TINY = ROOT / "export" / "tiny" / "tiny"
TINY_FAST = ROOT / "export" / "tiny" / "tiny-fast"
TINY_ALIGNER = ROOT / "export" / "tiny" / "tiny-aligner"
HUMAN_SPEECH = ROOT.parent / "shared" / "speech" / "fsdd" / "recordings"
WORDS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that run servers kill and stop them and hold deadlines, beside whatever else a shared machine does. One
    that fails runs a second time, which the summary says (RERUN); what fails twice has failed. How often and how soon
    faults heal is measured by `perf chaos`, without a second try."""
    served = (ROOT / "tests" / "integration", ROOT / "tests" / "e2e")
    for item in items:
        if any(item.path.is_relative_to(folder) for folder in served):
            item.add_marker(pytest.mark.flaky(reruns=1))


@pytest.fixture(scope="session", autouse=True)
def _everything_ends():
    """The first of a session's fixtures, so the last one to end."""
    yield
    endings.wait_for_all()


def read(path: Path) -> np.ndarray:
    with path.open("rb") as file:
        return decode(file, max_seconds=600)


@pytest.fixture(scope="session")
def english() -> np.ndarray:
    """ "four two seven nine zero one five", 4 s."""
    return read(RECORDINGS / "english.flac")


@pytest.fixture(scope="session")
def chinese() -> np.ndarray:
    """ "三八零二六", 6 s."""
    return read(RECORDINGS / "chinese.flac")


@pytest.fixture(scope="session")
def human_digits():
    """A function (speaker, digits, gap_s) -> PCM of that speaker's test takes; skips without the recordings."""
    if not HUMAN_SPEECH.is_dir():
        pytest.skip(f"human speech is not at {HUMAN_SPEECH}")

    def joined(speaker: str, digits: list[int], gap_s: float = 0.25, take: int = 0) -> np.ndarray:
        gap = np.zeros(int(gap_s * 16_000), dtype=np.float32)
        parts = [gap]
        for digit in digits:
            parts += [read(HUMAN_SPEECH / f"{digit}_{speaker}_{take}.wav"), gap]
        return np.concatenate(parts)

    return joined
