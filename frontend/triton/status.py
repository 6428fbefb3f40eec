"""What a watcher found in its last round, in a file, for whoever asks beside it.

python -m frontend.triton.status      exit status 0 where the watcher here finds every model well

A container's probe runs it every few seconds, so nothing is imported here that takes time (and `frontend.triton`'s
package must not either): 40 ms of a processor, where `frontend.triton.watcher --healthy` takes half a second.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from pathlib import Path

logger = logging.getLogger(__name__)

# A round takes seconds at most, but for a model that is loaded meanwhile.
QUIET_S = 20.0


def cache_dir() -> Path:
    """Where it lies, and whatever else the frontend keeps, unless ASR_CACHE_DIR says otherwise."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "qwen3-asr-triton"


class Status:
    """The file of one watcher, in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "watcher.json"

    def write(self, trouble: str) -> None:
        """Note that a round has ended, and what keeps the watcher or the models from their work; "": nothing."""
        # The clock of the machine, which is every process's, and which nobody sets.
        text = json.dumps({"at": time.monotonic(), "trouble": trouble})
        fresh = self._path.with_suffix(".fresh")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            fresh.write_text(text, encoding="utf-8")
            fresh.replace(self._path)
        except OSError as error:
            logger.warning("the watcher's state cannot be written: %s", error)

    def trouble(self) -> str:
        """Why the watcher does not do its work, or the models not theirs; "" where all is well."""
        try:
            status = json.loads(self._path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            return f"no watcher has written its state: {error}"
        quiet_s = time.monotonic() - status["at"]
        return f"the watcher has not looked for {quiet_s:.0f} s" if quiet_s > QUIET_S else str(status["trouble"])


def tell(folder: Path) -> int:
    """Print whether the watcher that writes there finds all well; the exit status that says so."""
    trouble = Status(folder).trouble()
    print(trouble or "healthy")
    return 1 if trouble else 0


if __name__ == "__main__":
    sys.exit(tell(Path(os.environ.get("ASR_CACHE_DIR") or cache_dir())))
