"""A frontend of one's own for as long as a benchmark or the demo needs it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from frontend.triton.process import free_port

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Service:
    """A running frontend with its embedded Triton."""

    url: str
    pid: int
    log_path: Path
    ready_s: float
    folder: Path

    def tritons(self) -> list[psutil.Process]:
        """Its embedded Triton, where there is one now."""
        return [one for one in psutil.Process(self.pid).children() if one.name() == "tritonserver"]

    def grpc_url(self) -> str:
        """Of its embedded Triton, as that was started."""
        (triton,) = self.tritons()
        port = next(one.partition("=")[2] for one in triton.cmdline() if one.startswith("--grpc-port="))
        return f"127.0.0.1:{port}"

    def takes(self, setting: str) -> bool:
        """Whether its frontend knows the setting of this name: one of another revision may not."""
        code = f"from frontend.settings import Settings; print({setting!r} in Settings.model_fields)"
        told = subprocess.run([sys.executable, "-c", code], cwd=self.folder, capture_output=True, text=True, check=True)
        return told.stdout.strip() == "True"

    def health(self) -> dict[str, Any]:
        with urllib.request.urlopen(f"{self.url}/health", timeout=5) as answer:
            body: dict[str, Any] = json.load(answer)
            return body


class ServiceFailed(RuntimeError):
    """The frontend did not become ready; the message holds the end of its log."""


@contextlib.contextmanager
def running_service(timeout_s: float = 180.0, folder: Path = ROOT, **environment: str) -> Iterator[Service]:
    """Start `python -m frontend` on a free port, wait until it is ready, end it in order. folder: a tree of some
    revision of this repository."""
    port = free_port()
    log_path = Path(tempfile.mkstemp(prefix="qwen3-asr-frontend-", suffix=".log")[1])
    started = time.monotonic()
    with log_path.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "frontend"],
            cwd=folder,
            # The usual gRPC port is left to whoever serves here.
            env={**os.environ, "ASR_PORT": str(port), "ASR_TRITON_GRPC_PORT": "0", **environment},
            stdout=log,
            stderr=log,
        )
    certificate = environment.get("ASR_TLS_CERTIFICATE")
    context = ssl.create_default_context(cafile=certificate) if certificate else None
    url = f"http{'s' if context else ''}://127.0.0.1:{port}"
    try:
        while not _is_ready(url, context):
            if process.poll() is not None or time.monotonic() - started > timeout_s:
                raise ServiceFailed(f"the frontend is not ready:\n{log_path.read_text()[-2000:]}")
            time.sleep(0.05)
        yield Service(url, process.pid, log_path, time.monotonic() - started, folder)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(40)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        log_path.unlink(missing_ok=True)


def _is_ready(url: str, context: ssl.SSLContext | None) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/health/ready", timeout=5, context=context) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False
