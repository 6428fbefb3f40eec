"""A peer as a process: it loads once and transcribes all clips a round, whenever it is asked to."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, Queue
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from perf.peers.environments import PeerMissing, environment
from perf.peers.rounds import MARK

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Round:
    """Seconds in which a peer transcribed all clips, and what it heard."""

    seconds: float
    texts: list[str]


class Worker:
    """A running peer, held still between rounds: what it does at rest must not slow whoever is measured then.

    `round` raises PeerMissing where it fails or takes too long.
    """

    def __init__(self, name: str, process: subprocess.Popen[str], log: Path) -> None:
        self._name, self._process, self._log = name, process, log
        self._lines: Queue[str | None] = Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def round(self, timeout_s: float = 300.0) -> Round:
        assert self._process.stdin is not None
        os.killpg(self._process.pid, signal.SIGCONT)
        try:
            self._process.stdin.write("go\n")
            self._process.stdin.flush()
        except OSError as error:
            raise self._failed() from error
        done = Round(**self.answer(timeout_s))
        os.killpg(self._process.pid, signal.SIGSTOP)
        return done

    def answer(self, timeout_s: float) -> dict[str, Any]:
        """Its next answer."""
        try:
            line = self._lines.get(timeout=timeout_s)
        except Empty:
            raise PeerMissing(f"{self._name} did not answer within {timeout_s:.0f} s") from None
        if line is None:
            raise self._failed()
        found: dict[str, Any] = json.loads(line)
        return found

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith(MARK):
                self._lines.put(line.removeprefix(MARK))
        self._lines.put(None)

    def _failed(self) -> PeerMissing:
        told = self._log.read_text(errors="replace").strip().splitlines()
        return PeerMissing(f"{self._name} did not run: {told[-1][:300] if told else 'it said nothing'}")


@contextlib.contextmanager
def peer(
    name: str, checkpoint: Path, clips: list[NDArray[np.float32]], tokens: int | None = None, timeout_s: float = 300.0
) -> Iterator[Worker]:
    """Run `perf/peers/<name>_worker.py` in the environment `name`; ready when this yields.

    tokens: how many every answer has, whatever the model says; None: until it ends.
    """
    python = environment(name) / "bin" / "python"
    with tempfile.TemporaryDirectory() as folder:
        np.savez(Path(folder) / "clips.npz", *clips)
        log = Path(folder) / "log"
        job = {"checkpoint": str(checkpoint), "clips": f"{folder}/clips.npz", "tokens": tokens}
        threads = str(torch.get_num_threads())
        with log.open("wb") as errors:
            process = subprocess.Popen(
                [str(python), str(HERE / f"{name}_worker.py"), json.dumps(job)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                # A group of its own: what a peer starts ends with it.
                start_new_session=True,
                env={**os.environ, "OMP_NUM_THREADS": threads},
            )
        try:
            worker = Worker(name, process, log)
            worker.answer(timeout_s)
            yield worker
        finally:
            _end(process)


def _end(process: subprocess.Popen[str]) -> None:
    """Its input's end asks it to leave; its group is killed where it does not."""
    assert process.stdin is not None
    with contextlib.suppress(OSError):
        os.killpg(process.pid, signal.SIGCONT)
        process.stdin.close()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(5)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
