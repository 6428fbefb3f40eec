"""The connection to this room's own server, encrypted where that server's gRPC is."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import grpc

CHANNEL_OPTIONS = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]
# Files in PEM: whom to trust; and where the server wants to know its clients, who this is.
ROOTS, CERTIFICATE, KEY = (f"ASR_STREAM_TRITON_TLS_{name}" for name in ("ROOTS", "CERTIFICATE", "KEY"))


def channel(url: str) -> Any:
    """A gRPC channel. Raises OSError where a file that a variable names cannot be read."""
    roots, certificate, key = (_file(name) for name in (ROOTS, CERTIFICATE, KEY))
    if roots is None and certificate is None:
        return grpc.aio.insecure_channel(url, options=CHANNEL_OPTIONS)
    return grpc.aio.secure_channel(url, grpc.ssl_channel_credentials(roots, key, certificate), options=CHANNEL_OPTIONS)


def _file(variable: str) -> bytes | None:
    path = os.environ.get(variable)
    return Path(path).read_bytes() if path else None
