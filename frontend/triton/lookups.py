"""The servers that names and files stand for now, looked up again every few seconds."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from frontend.triton.addresses import DNS, Address, Source, listed, merged, of_name

logger = logging.getLogger(__name__)

EVERY_S = 3.0
ANSWER_S = 5.0
MOST_FILE_BYTES = 2**20

Resolve = Callable[[str, int], Awaitable[list[str]]]


async def resolved(host: str, port: int) -> list[str]:
    """The addresses of a name, as numbers. Raises OSError."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(address[0]) for _, _, _, _, address in found]


class Lookup:
    """What was found last, of each source. One that fails, or says that there is nobody, is not believed: servers are
    there although a name server or an editor had a bad moment, and whoever is gone is noticed otherwise."""

    def __init__(self, entries: Sequence[Address | Source], resolve: Resolve = resolved) -> None:
        self._entries = entries
        self._resolve = resolve
        self._found: dict[Source, list[Address]] = {}
        # What was said of each, so that it is said once.
        self._said: dict[Source, str] = {}
        # One that hangs keeps a thread: it is not asked again until it has ended.
        self._asking: dict[Source, asyncio.Future[list[Address]]] = {}

    @property
    def changes(self) -> bool:
        """Whether it is worth looking again."""
        return any(isinstance(entry, Source) for entry in self._entries)

    async def look(self) -> list[Address]:
        """All addresses, in the order of the entries."""
        sources = [entry for entry in self._entries if isinstance(entry, Source)]
        await asyncio.gather(*(self._look(source) for source in sources))
        return merged([entry] if isinstance(entry, Address) else self._found.get(entry, []) for entry in self._entries)

    async def _look(self, source: Source) -> None:
        name = str(source.path or f"{DNS}{source.host}:{source.port}")
        asking = self._asking.get(source) or asyncio.ensure_future(self._addresses(source))
        self._asking[source] = asking
        await asyncio.wait([asking], timeout=ANSWER_S)
        if not asking.done():
            found, why = [], f"no answer within {ANSWER_S:g} s"
        else:
            del self._asking[source]
            try:
                found = asking.result()
                why = "" if found else "it names nobody"
            except (OSError, ValueError) as error:
                found, why = [], str(error)
        if found:
            self._found[source] = found
        if why != self._said.get(source, ""):
            self._said[source] = why
            if why:
                logger.error("%s: %s; the %d servers of before stay", name, why, len(self._found.get(source, [])))
            else:
                logger.info("%s names %d servers again", name, len(found))

    async def _addresses(self, source: Source) -> list[Address]:
        if source.path is None:
            return of_name(source, await self._resolve(source.host, source.port))
        return listed(await asyncio.to_thread(_text, source.path))


def _text(path: Path) -> str:
    with path.open("rb") as file:
        return file.read(MOST_FILE_BYTES).decode("utf-8")
