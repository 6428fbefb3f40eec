"""The room's end of vLLM's process: started, asked, ended."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import AsyncGenerator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .answering import EngineLost, Tokens
from .process import frames

logger = logging.getLogger(__name__)

WORKER = Path(__file__).parent / "process" / "worker.py"
# How a request fails by itself, among the words that say why it ended.
ERROR = "error: "


class Connection:
    """An `Answering`: one vLLM, in a process group of its own. Used within one event loop."""

    def __init__(self, process: subprocess.Popen[bytes], own: socket.socket, folder: Path) -> None:
        """folder: its own, for whatever it writes; removed with it."""
        self._process, self._own, self.folder = process, own, folder
        self._answers: dict[str, asyncio.Queue[Tokens | None]] = {}
        self._counts: dict[str, float] = {"steps": 0, "computed_tokens": 0, "kv_tokens": 0}
        self._lost = False
        self.max_tokens = self.capacity = 0
        self.dtype = torch.float32

    async def start(self, arguments: Mapping[str, Any], device: str) -> None:
        """Wait until vLLM is ready. Raises ValueError with what it says where it does not become so."""
        self._reader, self._writer = await asyncio.open_connection(sock=self._own)
        frames.write(self._writer, {"arguments": dict(arguments), "device": device})
        try:
            told, _ = await frames.read(self._reader)
        except (asyncio.IncompleteReadError, ConnectionError):
            told = {"failed": "its process ended; Triton's log says more"}
        if "failed" in told:
            self.close()
            raise ValueError(f"vLLM did not start: {told['failed']}")
        self.max_tokens, self.capacity = told["ready"]["max_tokens"], told["ready"]["capacity"]
        self.dtype = getattr(torch, told["ready"]["dtype"])
        self._reading = asyncio.create_task(self._read())

    async def answer(
        self, name: str, rows: Tensor, sampling: dict[str, Any], priority: int
    ) -> AsyncGenerator[Tokens, None]:
        """As `Answering` says."""
        answers = self._answers[name] = asyncio.Queue()
        told = {"name": name, "sampling": sampling, "priority": priority}
        told |= {"shape": list(rows.shape), "dtype": str(rows.dtype).removeprefix("torch.")}
        ended = False
        try:
            if self._lost:
                raise EngineLost
            frames.write(self._writer, told, rows.contiguous().view(torch.uint8).numpy().tobytes())
            await self._writer.drain()
            while not ended:
                tokens = await answers.get()
                if tokens is None:
                    raise EngineLost
                if tokens.ended.startswith(ERROR):
                    ended = True
                    raise RuntimeError(tokens.ended.removeprefix(ERROR))
                ended = bool(tokens.ended)
                yield tokens
        except ConnectionError:
            raise EngineLost from None
        finally:
            del self._answers[name]
            if not ended and not self._lost:
                frames.write(self._writer, {"drop": name})

    def is_lost(self) -> bool:
        return self._lost

    def kv_tokens(self) -> int:
        return int(self._counts["kv_tokens"])

    def counters(self) -> dict[str, float]:
        return {name: self._counts[name] for name in ("steps", "computed_tokens")}

    def close(self) -> None:
        """End vLLM's processes at once; they hold nothing that would be lost."""
        self._lost = True
        self._kill()
        self._process.wait()

    def _kill(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        shutil.rmtree(self.folder, ignore_errors=True)

    async def _read(self) -> None:
        try:
            while True:
                told, _ = await frames.read(self._reader)
                self._counts = told["counts"]
                for name, *tokens in told["answers"]:
                    if name in self._answers:
                        self._answers[name].put_nowait(Tokens(*tokens))
        except Exception as error:
            if not isinstance(error, asyncio.IncompleteReadError | ConnectionError):
                logger.exception("what vLLM's process says is not understood")
            self._lost = True
            # What it had started may live on, with all of a GPU's memory.
            self._kill()
            for answers in self._answers.values():
                answers.put_nowait(None)


def launch(python: str, variables: Mapping[str, str]) -> Connection:
    """Start the process. python: of the environment that has vLLM; variables: of its environment.

    Raises ValueError where that Python is not there.
    """
    own, others = socket.socketpair()
    folder = Path(tempfile.mkdtemp(prefix="vllm-"))
    try:
        # -u: what it says stands in Triton's log where it was said.
        process = subprocess.Popen(
            [python, "-u", str(WORKER), str(others.fileno()), str(folder)],
            stdin=subprocess.DEVNULL,
            pass_fds=[others.fileno()],
            # A group of its own: what vLLM starts ends with it.
            start_new_session=True,
            env={**variables, "TMPDIR": str(folder)},
        )
    except OSError as error:
        own.close()
        folder.rmdir()
        raise ValueError(f"vllm_python is {python}, which cannot be run: {error.strerror}") from None
    finally:
        others.close()
    return Connection(process, own, folder)
