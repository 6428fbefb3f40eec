"""The secret that Triton's control services ask for: loading models, shared memory, logging, traces.

Whoever may load a model may run code as Triton's user, so that who only sends sound must not be able to.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path

# Triton calls a restricted service by the header that it wants: by gRPC with a prefix, by HTTP without.
HEADER = "asr-control"
GRPC_HEADER = f"triton-grpc-protocol-{HEADER}"
SERVICES = "model-repository,shared-memory,logging,trace"


class NoControlKey(ValueError):
    """The file of the secret cannot be read or made; the message says why."""


def restriction(key: str) -> str:
    """What Triton's options --grpc-restricted-protocol and --http-restricted-api take."""
    return f"{SERVICES}:{HEADER}={key}"


def new_key() -> str:
    return secrets.token_urlsafe(24)


def read_key(path: Path | None) -> str:
    """The secret in the file; "" without a file, or while it is not there yet. Raises NoControlKey."""
    if path is None:
        return ""
    try:
        return path.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        return ""
    except (OSError, ValueError) as error:
        raise NoControlKey(f"{path} cannot be read as the secret of Triton's control services: {error}") from error


def kept_key(path: Path | None) -> str:
    """The secret in the file, which is made where it is not there: read by its owner alone. Without a file a new one.
    Raises NoControlKey."""
    if path is None:
        return new_key()
    if key := read_key(path):
        return key
    key = new_key()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(0o600)
        # One that was there, empty, may be readable by others.
        path.chmod(0o600)
        path.write_text(f"{key}\n", encoding="ascii")
    except OSError as error:
        raise NoControlKey(f"{path} cannot be written: {os.strerror(error.errno or 0)}") from error
    return key
