"""Servers that end while the next tests begin: an end takes seconds, nearly all of them waiting."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from frontend.triton.process import EmbeddedTriton

TIMEOUT_S = 120.0
_threads = ThreadPoolExecutor()
_ending: list[Future[Any]] = []


@contextlib.contextmanager
def ended_later(server: contextlib.AbstractContextManager[Any]) -> Iterator[Any]:
    """What `server` gives, as with `with`, whose end is not waited for."""
    yield server.__enter__()
    _later(lambda: server.__exit__(None, None, None))


def stop_later(server: EmbeddedTriton) -> None:
    """Its end is not waited for."""
    _later(lambda: asyncio.run(server.stop()))


def wait_for_all() -> None:
    """Until everything has ended; raises what any of the ends raised."""
    for one in _ending:
        one.result(TIMEOUT_S)
    _ending.clear()


def _later(end: Callable[[], Any]) -> None:
    _ending.append(_threads.submit(end))
