"""Several Tritons as an operator names them: host:port, a DNS name that stands for many, a file that lists them."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

DNS, FILE = "dns:///", "file:///"
# One frontend has a connection to each, and looks at each.
MOST_SERVERS = 1_000
MOST_WEIGHT = 100.0
# A name, an IPv4 address, or an IPv6 address in brackets; and a port.
HOST_AND_PORT = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9]([A-Za-z0-9._-]{0,252}))?:(\d{1,5})", re.ASCII)


@dataclass(frozen=True)
class Address:
    """One Triton. url: host:port of its gRPC. weight: its part of the work beside the others'; 0: it is drained. name:
    the one that its certificate is to have, where that is not the host of `url`."""

    url: str
    weight: float = 1.0
    name: str = ""


@dataclass(frozen=True)
class Source:
    """An entry of the list that stands for any number of addresses: host and port of a name, or a file's path."""

    path: Path | None = None
    host: str = ""
    port: int = 0
    weight: float = 1.0


def parsed(entries: Iterable[str]) -> list[Address | Source]:
    """What the entries of ASR_TRITON_URLS name. Raises ValueError, one line, where one is none."""
    found = [_parsed(entry.strip()) for entry in entries]
    _check(found)
    return found


def listed(text: str) -> list[Address]:
    """The addresses of a file: one a line, with or without a weight; what begins with # is a comment. Raises
    ValueError."""
    lines = (line.partition("#")[0].strip() for line in text.splitlines())
    found = [_address(line) for line in lines if line]
    _check(found)
    return found


def of_name(source: Source, hosts: Iterable[str]) -> list[Address]:
    """The addresses (IPv4 or IPv6, as numbers) that a DNS name stands for."""
    urls = sorted({f"[{host}]:{source.port}" if ":" in host else f"{host}:{source.port}" for host in hosts})
    return [Address(url, source.weight, source.host) for url in urls[:MOST_SERVERS]]


def merged(several: Iterable[Sequence[Address]]) -> list[Address]:
    """Each address once: what was named first holds."""
    found: dict[str, Address] = {}
    for addresses in several:
        for address in addresses:
            found.setdefault(address.url, address)
    return [*found.values()][:MOST_SERVERS]


def _parsed(entry: str) -> Address | Source:
    if entry.startswith(FILE):
        path = Path(entry.removeprefix("file://"))
        if path == Path("/"):
            raise ValueError(f"{entry!r} names no file")
        return Source(path=path)
    if entry.startswith(DNS):
        named = _address(entry.removeprefix(DNS), entry)
        host, _, port = named.url.rpartition(":")
        return Source(host=host.strip("[]"), port=int(port), weight=named.weight)
    return _address(entry)


def _address(text: str, entry: str = "") -> Address:
    """host:port, or host:port=weight. entry: as the operator wrote it."""
    entry = entry or text
    url, has_weight, weight = (part.strip() for part in text.partition("="))
    told = HOST_AND_PORT.fullmatch(url)
    if told is None or told[1] is None:
        raise ValueError(f"{entry!r} is no host:port, host:port=weight, dns:///name:port or file:///path")
    if not 1 <= int(told[3]) <= 65_535:
        raise ValueError(f"{entry!r}: a port is 1 to 65535")
    return Address(url, _weight(weight, entry) if has_weight else 1.0)


def _weight(text: str, entry: str) -> float:
    try:
        weight = float(text)
    except ValueError:
        weight = math.nan
    if not 0 <= weight <= MOST_WEIGHT:
        raise ValueError(f"{entry!r}: a weight is 0 to {MOST_WEIGHT:g}")
    return weight


def _check(found: Sequence[Address | Source]) -> None:
    if len(found) > MOST_SERVERS:
        raise ValueError(f"{len(found)} servers are named; {MOST_SERVERS} are the most")
    urls = [one.url if isinstance(one, Address) else (one.path or f"{DNS}{one.host}:{one.port}") for one in found]
    twice = next((url for url in urls if urls.count(url) > 1), None)
    if twice is not None:
        raise ValueError(f"{str(twice)!r} is named twice")
