"""What the master knows of each server, as a worker is told it."""

from __future__ import annotations

from collections import Counter
from typing import Any

from frontend.triton.addresses import Address
from frontend.triton.server import Hearsay, Server

# What of a model's own words a worker needs.
WANTED = {"decoder": ("files", "checkpoint"), "asr_stream": ("sessions",)}


def as_told(server: Server, *, several: bool) -> dict[str, Any]:
    """For JSON. several: whether there is a choice, for which it matters that somebody has looked again."""
    known = server.known
    return {
        "url": server.url,
        "name": server.address.name,
        "weight": server.standing.weight,
        "generation": server.generation,
        "looks": server.looks if several else min(1, server.looks),
        "states": known.states,
        "lost": known.unhealthy,
        "healed": dict(known.healed),
        "told": {
            model: {name: known.told[model][name] for name in names if name in known.told[model]}
            for model, names in WANTED.items()
            if model in known.told
        },
        "reports": dict(known.reports) if several else {},
    }


def address_of(told: dict[str, Any]) -> Address:
    return Address(told["url"], told["weight"], told["name"])


def take(server: Server, told: dict[str, Any]) -> None:
    """What was told is what is known of it."""
    server.known = Hearsay(told["states"], told["lost"], told["told"], Counter(told["reports"]), told["healed"])
    if server.looks != told["looks"]:
        # As many as the master's.
        server.looks = told["looks"] - 1
        server.looked()
