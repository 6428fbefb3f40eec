"""Who asks: the holder of a key, or where there are no keys, an address."""

from __future__ import annotations

from starlette.types import Scope

# Where the gate of the keys leaves the number of the one that it found.
KEY = "asr.key"


def client_of(scope: Scope) -> str:
    """A short name, the same for all requests of one client. Who comes by a proxy has its address, but for one on this
    machine, which says whose the request is."""
    if (number := scope.get(KEY)) is not None:
        return f"key {number}"
    address = scope.get("client")
    return address[0] if address else ""
