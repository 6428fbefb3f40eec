"""What every peer's process does: it says that it is ready, then transcribes all clips for each line it is sent.

Runs in the peers' environments: NumPy and nothing of ours.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

MARK = "ROUND "


def job() -> dict[str, Any]:
    """checkpoint, clips (a list of float32 arrays at 16 kHz), tokens (or None)."""
    asked: dict[str, Any] = json.loads(sys.argv[1])
    with np.load(asked["clips"]) as file:
        asked["clips"] = [file[name] for name in file.files]
    return asked


def serve(transcribe: Callable[[list[Any]], list[str]], clips: list[Any]) -> None:
    """The first clip unmeasured, then all of them for each line until the input ends."""
    transcribe(clips[:1])
    print(MARK + "{}", flush=True)
    for _ in sys.stdin:
        started = time.perf_counter()
        texts = transcribe(clips)
        print(MARK + json.dumps({"seconds": time.perf_counter() - started, "texts": texts}), flush=True)
