"""What is sent to an entrance, as data: two runs of one seed send the same bytes."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

Rng = random.Random


@dataclass(frozen=True)
class Http:
    """Bytes on one connection to the frontend, in pieces with a pause between them. leaves: the client does not wait
    for an answer, it closes."""

    pieces: tuple[bytes, ...]
    pause_s: float = 0.0
    leaves: bool = False


@dataclass(frozen=True)
class Session:
    """Messages of one WebSocket, text or binary; then the client asks for the end, or for a sign of life."""

    path: str
    messages: tuple[str | bytes, ...]


@dataclass(frozen=True)
class Infer:
    """A ModelInferRequest for Triton, serialized. streamed: by ModelStreamInfer, which some models need."""

    request: bytes
    streamed: bool


Attack = Http | Session | Infer


@dataclass(frozen=True)
class Kind:
    """A way to be hostile. share: of all inputs, relative to the other kinds'."""

    name: str
    share: float
    make: Callable[[Rng], Attack]


def request(method: str, path: str, body: bytes = b"", headers: tuple[tuple[str, str], ...] = ()) -> Http:
    """A whole request; the connection ends with its answer."""
    own = {name.lower() for name, _ in headers}
    usual = (("Host", "127.0.0.1"), ("Connection", "close"), ("Content-Length", str(len(body))))
    lines = [f"{name}: {value}" for name, value in (*headers, *(one for one in usual if one[0].lower() not in own))]
    head = "\r\n".join([f"{method} {path} HTTP/1.1", *lines, "", ""])
    return Http((head.encode("utf-8", "surrogateescape") + body,))
