"""The Triton of the PyPI wheel as a child process: started, awaited, stopped, and never left behind."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import grpc
from tritonclient.grpc import service_pb2, service_pb2_grpc

from frontend.settings import Settings
from frontend.triton import arguments, control
from frontend.triton.launched import Tether
from frontend.triton.profiles import ProfileError, models_of
from frontend.triton.sizing import sized_repository
from frontend.triton.wheel import TritonError, prepare_backends, triton_folder

logger = logging.getLogger(__name__)

SHARED_MEMORY = Path("/dev/shm")
# What Triton says, and ends, where somebody listens on its gRPC port, or on that of its metrics.
PORT_IS_TAKEN = ("failed to start GRPC service", "failed to start Metrics service")
# Its last port is tried when it answers by gRPC already; that it is taken shows within some milliseconds.
LAST_PORT_S = 0.05
# Triton's first lines, after it has read its arguments.
ARGUMENTS_READ = "_memory_manager.cc"
# Its last ones, where requests do not end (of clients that have vanished): what it does then may wait for ever for the
# models' own streams to it.
GIVEN_UP = b"Exit timeout expired"
LAST_WORDS = 2_000
PORT_TRIALS = 5


class PortTaken(TritonError):
    """Somebody else listens on the port that was chosen; another one will do."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def is_free(port: int) -> bool:
    """Whether nobody listens there on loopback; connections that linger after their server's end do not count."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


class EmbeddedTriton:
    """One tritonserver child on loopback ports of its own.

    `start` returns when every model is ready; `stop` when the process is gone.
    """

    def __init__(self, settings: Settings, models: tuple[str, ...] | None = None) -> None:
        """models: loaded at start, None for what the profile needs; an ensemble brings its steps along."""
        self._settings = settings
        self._profile = settings.profile or ""
        self.models = models if models is not None else models_of(settings.model_repository, self._profile)
        self._process: subprocess.Popen[bytes] | None = None
        self._tether: Tether | None = None
        try:
            self.control_key = control.kept_key(settings.triton_control_key_file)
        except control.NoControlKey as error:
            raise TritonError(str(error)) from error
        wanted = settings.triton_grpc_port
        self._take_ports(wanted if wanted and is_free(wanted) else free_port())

    def _take_ports(self, grpc_port: int) -> None:
        self.grpc_port = grpc_port
        self.metrics_port = free_port()
        while self.metrics_port == grpc_port:
            # Nobody listens there yet, so the kernel may name it again.
            self.metrics_port = free_port()
        # Two servers of one process may have tried for the same port.
        token = secrets.token_hex(3)
        self.log_path = self._settings.cache_dir / "logs" / f"triton-{os.getpid()}-{grpc_port}-{token}.log"
        self._shared_memory_prefix = f"qwen3_asr_{os.getpid()}_{grpc_port}_{token}_"

    @property
    def url(self) -> str:
        return f"127.0.0.1:{self.grpc_port}"

    @property
    def metrics_url(self) -> str:
        return f"http://127.0.0.1:{self.metrics_port}/metrics"

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    async def start(self) -> None:
        """Start the server and wait until it and its models are ready.

        Raises TritonError where it ends early or is not ready in time; nothing is left running then.
        """
        for _ in range(PORT_TRIALS):
            try:
                await self._start_once()
                return
            except PortTaken:
                # Somebody was faster between the look at a port and Triton's.
                self._take_ports(self.grpc_port if is_free(self.grpc_port) else free_port())
        raise TritonError(f"no port of {PORT_TRIALS} stayed free until Triton listened (log: {self.log_path})")

    async def _start_once(self) -> None:
        try:
            self._process = self._begun()
        except (OSError, ProfileError) as error:
            # A disk that is full or may not be written, a configuration that cannot be read: later it may be another.
            raise TritonError(f"the embedded Triton cannot be started: {error}") from error
        try:
            await self._until_ready()
        except BaseException:
            await self.stop()
            raise

    def _begun(self) -> subprocess.Popen[bytes]:
        """The server's process, with what it needs on the disk."""
        remove_stale_shared_memory()
        self.log_path.parent.mkdir(parents=True, exist_ok=True)
        _remove_old_logs(self.log_path.parent)
        tether = Tether()
        try:
            with self.log_path.open("ab") as log:
                process = subprocess.Popen(
                    tether.command(self._settings.triton_stop_timeout_s, self.command()),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env=self.environment(),
                    pass_fds=tether.inherited,
                    # A Ctrl-C in the terminal is for the frontend, which stops its child in order.
                    start_new_session=True,
                )
        except BaseException:
            tether.close()
            raise
        tether.begun()
        self._tether = tether
        return process

    async def stop(self) -> None:
        """End the server: politely, then by force; and what it left in shared memory."""
        process = self._process
        if process is None:
            return
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            deadline = time.monotonic() + self._settings.triton_stop_timeout_s
            while process.poll() is None and time.monotonic() < deadline and not self._has_given_up():
                await asyncio.sleep(0.02)
            if process.poll() is None and not self._has_given_up():
                logger.warning("the embedded Triton did not stop in time and is killed")
        # Stubs share the server's session; none may outlive it.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if self._tether is not None:
            self._tether.close()
        for path in SHARED_MEMORY.glob(f"{self._shared_memory_prefix}*"):
            path.unlink(missing_ok=True)

    def _has_given_up(self) -> bool:
        """Whether it waits no more for what it runs, and is to end at once."""
        with self.log_path.open("rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - LAST_WORDS))
            return GIVEN_UP in log.read()

    def kill(self) -> None:
        """End a server that answers nothing: it would not hear a request to stop."""
        if self.is_running():
            assert self._process is not None
            self._process.kill()

    def environment(self) -> dict[str, str]:
        """What the server is started with."""
        return {
            # NumPy's matrices are small in these models: its threads would only take cores from the others.
            "OPENBLAS_NUM_THREADS": "1",
            # Tensors of some hundred kB come and go: memory that is given back to the system at once is cleared again a
            # page at a time, a fifth of all processor time.
            "MALLOC_TRIM_THRESHOLD_": str(128 * 2**20),
            "MALLOC_MMAP_THRESHOLD_": str(32 * 2**20),
            # CUDA's numbers are nvidia-smi's, by which the device was chosen.
            "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
            **os.environ,
            # Its config.pbtxt cannot know which port was free.
            "ASR_STREAM_TRITON_URL": self.url,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
        }

    def command(self) -> list[str]:
        """The server and its options."""
        settings = self._settings
        server = triton_folder() / "bin" / "tritonserver"
        repository = sized_repository(
            settings.model_repository, self._profile, settings.num_processes, settings.cache_dir
        )
        command = [
            str(server),
            f"--model-repository={repository}",
            f"--backend-directory={prepare_backends(settings.cache_dir)}",
            f"--backend-config=python,shm-region-prefix-name={self._shared_memory_prefix}",
            # Its name, by which it is told from another one that listens where this one was to.
            f"--id={self._shared_memory_prefix}",
            "--model-control-mode=explicit",
            # Who sends sound over gRPC may not load models, which is to run code as this user.
            f"--grpc-restricted-protocol={control.restriction(self.control_key)}",
            # Before a model is loaded Triton asks it for its tensors, which is a second of waiting: all do so at once.
            "--model-load-thread-count=8",
            "--allow-http=false",
            "--grpc-address=127.0.0.1",
            f"--grpc-port={self.grpc_port}",
            "--metrics-address=127.0.0.1",
            f"--metrics-port={self.metrics_port}",
            "--exit-timeout-secs=5",
        ]
        if settings.otlp_endpoint:
            url = f"{settings.otlp_endpoint.rstrip('/')}/v1/traces"
            options = ("mode=opentelemetry", f"opentelemetry,url={url}", "level=TIMESTAMPS", "rate=1")
            command += [f"--trace-config={option}" for option in options]
        if self._profile:
            command.append(f"--model-config-name={self._profile}")
        return [*command, *(f"--load-model={model}" for model in self.models)]

    async def _until_ready(self) -> None:
        deadline = time.monotonic() + self._settings.triton_start_timeout_s
        hidden = False
        async with grpc.aio.insecure_channel(self.url) as channel:
            stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
            while time.monotonic() < deadline:
                if not self.is_running():
                    if self._has_no_port():
                        raise PortTaken(f"port {self.grpc_port} or {self.metrics_port} is taken")
                    code = self._process.poll() if self._process else None
                    raise TritonError(f"the embedded Triton ended at once, with {code}; {_reason(self.log_path)}")
                if not hidden and self.pid and ARGUMENTS_READ in self.log_path.read_text(errors="replace"):
                    hidden = arguments.hide(self.pid, self.control_key)
                try:
                    answer = await stub.ServerReady(service_pb2.ServerReadyRequest(), timeout=1.0)
                    if answer.ready and await self._is_ours(stub):
                        await asyncio.sleep(LAST_PORT_S)
                        if not self._has_no_port():
                            return
                except grpc.aio.AioRpcError:
                    pass
                await asyncio.sleep(0.05)
        raise TritonError(
            f"Triton was not ready in {self._settings.triton_start_timeout_s:g} s: {_reason(self.log_path)}"
        )

    def _has_no_port(self) -> bool:
        """Whether it ends because somebody listens where it was to."""
        log = self.log_path.read_text(errors="replace")
        return any(words in log for words in PORT_IS_TAKEN)

    async def _is_ours(self, stub: service_pb2_grpc.GRPCInferenceServiceStub) -> bool:
        """Triton listens when its models are loaded: until then somebody else's may answer at the port."""
        answer = await stub.ServerMetadata(service_pb2.ServerMetadataRequest(), timeout=1.0)
        return bool(answer.name == self._shared_memory_prefix)


def _reason(log_path: Path) -> str:
    """The log's last error and where to read more."""
    lines = log_path.read_text(errors="replace").splitlines()
    errors = [line for line in lines if line.startswith("E") or "error" in line.lower()] or lines[-3:]
    return f"{' | '.join(errors[-2:])} (log: {log_path})"


def _remove_old_logs(folder: Path, keep: int = 20) -> None:
    for path in sorted(folder.glob("triton-*.log"), key=lambda p: p.stat().st_mtime)[:-keep]:
        path.unlink(missing_ok=True)


def remove_stale_shared_memory() -> None:
    """Remove what servers of this project left in shared memory when they and their parent were killed."""
    for path in SHARED_MEMORY.glob("qwen3_asr_*"):
        owner = path.name.split("_")[2]
        if owner.isdigit() and not Path(f"/proc/{owner}").exists():
            # What another user's left is that user's to remove.
            with contextlib.suppress(PermissionError):
                path.unlink(missing_ok=True)
