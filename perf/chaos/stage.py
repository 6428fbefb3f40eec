"""The real stack as a deployment runs it, and places where it can be hurt: small disks, models that can be wedged."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import psutil

from frontend.triton.process import SHARED_MEMORY, free_port
from perf.chaos.victims import processes_of, what

REPOSITORY = Path(__file__).resolve().parents[2] / "model_repository"
READY_S = 180.0
DISK_MB, SHARED_MB = 64, 1_024
# Appended to a model of the copy: the process that the file names stands still while the file is there, and lives; the
# one that is loaded instead, and warmed up first, does not. It takes so many seconds longer for a call as the file of
# its slowness says.
WEDGE = """

import os as _os, time as _time
_execute = TritonPythonModel.execute
def _is_wedged():
    try:
        with open({file!r}) as wedge:
            return wedge.read() == str(_os.getpid())
    except FileNotFoundError:
        return False
def _wedged(self, requests):
    while _is_wedged():
        _time.sleep(0.02)
    if _os.path.exists({file!r} + ".slow"):
        with open({file!r} + ".slow") as slow:
            _time.sleep(float(slow.read() or 0))
    return _execute(self, requests)
TritonPythonModel.execute = _wedged
"""
# What Python calls at the start of every process of the stage: the wall clock that a file says, seconds.
CLOCK = """
import sys, time
_time = time.time
def _shifted():
    # gRPC's library written in C compares its deadlines with the clock itself, which on a machine jumps along.
    if sys._getframe(1).f_globals.get("__name__", "").startswith("grpc"):
        return _time()
    try:
        with open({file!r}) as file:
            return _time() + float(file.read() or 0)
    except (OSError, ValueError):
        return _time()
time.time = _shifted
"""
# Of a model's instances, in its configuration.
COUNT = re.compile(r"\bcount: \d+")
# A mount namespace of its own: what is filled there is nobody else's.
SMALL_DISKS = (
    'mount -t tmpfs -o size={disk}m tmpfs "$0" && mount -t tmpfs -o size={shared}m tmpfs /dev/shm && exec "$@"'
)


class Stage:
    """`python -m frontend` with its Triton, started anew within a second where it is killed, as compose does it."""

    def __init__(
        self, folder: Path, *, triton: str | None = None, pairs: tuple[str, ...] = (), **environment: str
    ) -> None:
        """folder: of its own, for everything that is written. triton: HOST:PORT of one elsewhere. pairs: models that
        have two processes each."""
        self.folder = folder
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log_path = folder / "frontend.log"
        self.disk = folder / "disk"
        self.wedges = folder / "wedges"
        self.clock = folder / "clock"
        for made in (self.disk, self.wedges):
            made.mkdir()
        python = folder / "python"
        python.mkdir()
        (python / "sitecustomize.py").write_text(CLOCK.format(file=str(self.clock)))
        self._environment = {
            **os.environ,
            "ASR_PORT": str(self.port),
            "ASR_TRITON_GRPC_PORT": "0",
            "ASR_CACHE_DIR": str(folder / "cache"),
            "ASR_MODEL_REPOSITORY": str(wedgeable(folder / "repository", self.wedges, pairs)),
            "TMPDIR": str(self.disk),
            "PYTHONPATH": os.pathsep.join([str(python), *filter(None, [os.environ.get("PYTHONPATH")])]),
            **({"ASR_TRITON_URL": triton} if triton else {}),
            **environment,
        }
        self._process: subprocess.Popen[bytes] | None = None
        self._supervisor: asyncio.Task[None] | None = None
        self.has_small_disks = can_mount()
        self.starts = 0

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    async def __aenter__(self) -> Stage:
        self._supervisor = asyncio.create_task(self._supervise())
        try:
            await self.until_ready(READY_S)
        except BaseException:
            await self._end()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._end()

    def process_of(self, model: str) -> psutil.Process:
        """The process that runs a model; `triton` and `frontend` likewise. Raises LookupError."""
        for process in self.processes_of(model):
            return process
        raise LookupError(f"{model} has no process")

    def processes_of(self, model: str) -> list[psutil.Process]:
        """All that can be hurt, and what was unloaded but has not ended, the newest first."""
        return [psutil.Process(self.pid)] if model == "frontend" else processes_of(self.pid, model)

    def inside(self, path: Path) -> Path:
        """A path as the frontend's processes see it."""
        return Path(f"/proc/{self.pid}/root{path}") if self.has_small_disks else path

    async def health(self) -> dict[str, Any]:
        """What /health says; {} where nobody answers."""
        with contextlib.suppress(httpx.TransportError, ValueError):
            async with httpx.AsyncClient(timeout=5.0) as client:
                answer: dict[str, Any] = (await client.get(f"{self.url}/health")).json()
                return answer
        return {}

    async def is_ready(self) -> bool:
        with contextlib.suppress(httpx.TransportError):
            async with httpx.AsyncClient(timeout=5.0) as client:
                return (await client.get(f"{self.url}/health/ready")).status_code == 200
        return False

    async def until_ready(self, timeout_s: float) -> None:
        """Raises RuntimeError with the end of the log."""
        deadline = time.monotonic() + timeout_s
        while not await self.is_ready():
            if time.monotonic() > deadline:
                raise RuntimeError(f"the frontend is not ready:\n{self.log_path.read_text()[-2000:]}")
            await asyncio.sleep(0.05)

    def processes(self) -> dict[str, list[psutil.Process]]:
        """Every process of the stage, by what it is."""
        found: dict[str, list[psutil.Process]] = {"frontend": [psutil.Process(self.pid)]}
        for process in psutil.Process(self.pid).children(recursive=True):
            with contextlib.suppress(psutil.Error):
                found.setdefault(what(process), []).append(process)
        return found

    async def _supervise(self) -> None:
        while True:
            command = [sys.executable, "-m", "frontend"]
            if self.has_small_disks:
                script = SMALL_DISKS.format(disk=DISK_MB, shared=SHARED_MB)
                command = ["unshare", "--mount", "sh", "-c", script, str(self.disk), *command]
            with self.log_path.open("ab") as log:
                self._process = subprocess.Popen(command, env=self._environment, stdout=log, stderr=log)
            self.starts += 1
            while self._process.poll() is None:
                await asyncio.sleep(0.05)
            await asyncio.sleep(0.5)

    async def _end(self) -> None:
        if self._supervisor is not None:
            self._supervisor.cancel()
            await asyncio.gather(self._supervisor, return_exceptions=True)
        if self._process is None:
            return
        left = psutil.Process(self.pid).children(recursive=True) if self._process.poll() is None else []
        for process in left:
            # What was stopped could not end.
            with contextlib.suppress(psutil.Error):
                process.send_signal(signal.SIGCONT)
        self._process.send_signal(signal.SIGTERM)
        try:
            await asyncio.to_thread(self._process.wait, 40)
        except subprocess.TimeoutExpired:
            self._process.kill()
        for process in left:
            with contextlib.suppress(psutil.Error):
                process.kill()


@contextlib.asynccontextmanager
async def staged(triton: str | None = None, pairs: tuple[str, ...] = (), **environment: str) -> AsyncIterator[Stage]:
    """A stage in a folder that is removed afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="qwen3-asr-chaos-"))
    try:
        async with Stage(folder, triton=triton, pairs=pairs, **environment) as stage:
            yield stage
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def can_mount() -> bool:
    """Whether a mount namespace of one's own can be had: as root on Linux."""
    if shutil.which("unshare") is None:
        return False
    trial = ["unshare", "--mount", "sh", "-c", "mount -t tmpfs -o size=1m tmpfs /dev/shm"]
    return subprocess.run(trial, capture_output=True, check=False, timeout=30).returncode == 0


def wedgeable(folder: Path, wedges: Path, pairs: tuple[str, ...] = ()) -> Path:
    """Links to the model repository, but for every Python model's entrance, which stands still while a file of the
    model's name lies in `wedges`, and for configurations of `pairs`. Returns `folder`."""
    for room in sorted(path for path in REPOSITORY.iterdir() if path.is_dir()):
        for part in room.iterdir():
            target = folder / room.name / part.name
            if part.name == "config.pbtxt" and room.name in pairs:
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_text(COUNT.sub("count: 2", part.read_text()))
                continue
            if not (part / "model.py").exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                target.symlink_to(part.resolve())
                continue
            target.mkdir(parents=True)
            for file in part.iterdir():
                if file.name == "model.py":
                    wedge = WEDGE.format(file=str(wedges / room.name))
                    (target / file.name).write_text(file.read_text() + wedge)
                elif file.name != "__pycache__":
                    (target / file.name).symlink_to(file.resolve())
    return folder


def shared_memory() -> Path:
    return SHARED_MEMORY
