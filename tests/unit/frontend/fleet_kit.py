"""A fleet of three servers at whose addresses nobody listens."""

import random

import pytest

from frontend.triton.addresses import Address
from frontend.triton.balancer import FILE, LIVE
from frontend.triton.client import TritonClient
from frontend.triton.fleet import Fleet
from frontend.triton.live_session import MODEL
from frontend.triton.server import Hearsay, Server

MODELS = ("asr", "asr_stream")


def known(checkpoint="tiny", aligner=True, lost=()):
    states = {**dict.fromkeys(MODELS, "READY"), "align": "READY" if aligner else "UNLOADED"}
    told = {"decoder": {"files": 0, "checkpoint": checkpoint}}
    return Hearsay(states, dict.fromkeys(lost, "it is gone"), told)


@pytest.fixture
async def three():
    """A fleet of servers that are well; nobody listens at their addresses."""
    made = Fleet(random.Random(0))
    for number in range(3):
        url = f"127.0.0.1:{number + 1}"
        server = Server(Address(url), TritonClient(url), MODELS)
        server.known = known()
        made.add(server)
        server.looked()
    yield made
    await made.close()


def asked(fleet, kind=FILE, count=30):
    return {fleet.choose(kind).url[-1] for _ in range(count)}


def seen(fleet, number, **given):
    server = fleet.get(f"127.0.0.1:{number}")
    server.known = known(**given)
    server.looked()
    return server


def sessions(server, count, at_rest=lambda: True):
    """So many that have begun there, and would hear that they are to leave."""
    for _ in range(count):
        server.standing.begin(LIVE)
    return [server.client.renewals.of(MODEL, at_rest) for _ in range(count)]


def gone(futures):
    return sum(future.done() for future in futures)
