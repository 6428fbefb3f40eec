"""Where a load goes: a service that runs, whose Triton may be known by another name there, or one of our own."""

from __future__ import annotations

import contextlib
import ipaddress
import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException

from perf.service import running_service

PROBE_S = 3.0


class Unreachable(RuntimeError):
    """Nothing answers at an address; the message says where, and what can be told instead."""


@contextlib.contextmanager
def frontend_at(url: str | None) -> Iterator[str]:
    """HTTP address of the frontend at `url`, or of one that lives as long as this. Raises Unreachable."""
    if url is None:
        with running_service() as service:
            yield service.url
    else:
        _health(url)
        yield url.rstrip("/")


@contextlib.contextmanager
def triton_at(url: str | None, grpc: str | None = None) -> Iterator[str]:
    """gRPC address of the Triton at `grpc`, else of the one behind the frontend at `url`, else of a service that lives
    as long as this. Raises Unreachable where it does not answer."""
    if grpc is not None:
        if (reason := no_answer(grpc)) is not None:
            raise Unreachable(f"no Triton answers at {grpc}: {reason}")
        yield grpc
    elif url is not None:
        told = _health(url).get("triton", {}).get("url")
        if told is None:
            raise Unreachable(f"the frontend at {url} has no Triton now: see {url.rstrip('/')}/health")
        yield reachable(told, url)
    else:
        with running_service() as service:
            yield service.health()["triton"]["url"]


def reachable(told: str, url: str) -> str:
    """Where the Triton that the frontend at `url` calls `told` answers: there, or, where `told` is a name that only the
    frontend's own network knows, at the same port of the frontend's host. A loopback address is the frontend's own and
    not ours, where the frontend is on another machine. Raises Unreachable."""
    beside = address_beside(told, url)
    tried = {}
    for address in candidates(told, beside):
        tried[address] = no_answer(address)
        if tried[address] is None:
            if address != told:
                print(f"{told}, as the frontend calls its Triton, is not reached from here: {address} is used")
            return address
    reasons = "; ".join(f"{address}: {reason}" for address, reason in tried.items())
    raise Unreachable(f"the Triton of {url} cannot be reached from here ({reasons}); name it by --grpc HOST:PORT")


def candidates(told: str, beside: str) -> list[str]:
    """Addresses to try, in order."""
    if _is_loopback(told) and not _is_loopback(beside):
        return [beside]
    return list(dict.fromkeys((told, beside)))


def address_beside(told: str, url: str) -> str:
    """The port of the gRPC address `told` on the host of `url`."""
    host = urlsplit(url).hostname or "127.0.0.1"
    return f"{f'[{host}]' if ':' in host else host}:{told.rpartition(':')[2]}"


def no_answer(address: str) -> str | None:
    """Why no Triton answers at this gRPC address, in a few words; None where one does."""
    client = triton.InferenceServerClient(address)
    try:
        return None if client.is_server_live(client_timeout=PROBE_S) else "it is not live"
    except InferenceServerException as error:
        return _short(error.message())
    finally:
        client.close()


def _short(message: str) -> str:
    """gRPC's words without the addresses and prefixes that it repeats."""
    if "Deadline Exceeded" in message:
        return f"no answer within {PROBE_S:g} s"
    if any(words in message for words in ("DNS resolution failed", "Domain name not found", "C-ares status")):
        return "the name is not known"
    last = message.strip().splitlines()[0].rpartition(": ")[2].strip(" ]")
    # A number is the status of an HTTP server.
    return f"no gRPC, an HTTP server answers {last}" if last.isdecimal() else last


def _is_loopback(address: str) -> bool:
    host = address.rpartition(":")[0].strip("[]")
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _health(url: str) -> dict[str, Any]:
    """What the frontend says of itself. Raises Unreachable."""
    try:
        with urllib.request.urlopen(f"{url.rstrip('/')}/health", timeout=10) as answer:
            body = json.load(answer)
    except urllib.error.HTTPError as error:
        raise Unreachable(f"the frontend at {url} is not ready: its /health answers {error.code}") from error
    except (OSError, ValueError) as error:
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        raise Unreachable(f"no frontend answers at {url}: {reason}") from error
    if not isinstance(body, dict):
        raise Unreachable(f"what answers at {url} is not our frontend")
    return body
