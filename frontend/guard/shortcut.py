"""The short way of a WebSocket's binary messages: straight from the connection to its route."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from starlette.types import Scope

# In a WebSocket's scope, among the extensions: its Shortcut.
SHORTCUT = "frontend.shortcut"


@dataclass
class Shortcut:
    """How a route takes binary messages as they come, which costs a fraction of a turn of its task for each. take:
    whether it took the message; the route is told of others as of all messages. None while order asks for that. left:
    whether the connection is lost, which a route that is busy with a message would hear of behind it alone."""

    take: Callable[[bytes], bool] | None = None
    left: bool = False


def shortcut_of(scope: Scope) -> Shortcut:
    """That of a WebSocket's connection; one that nobody else knows where there is none."""
    found: Shortcut | None = scope.get("extensions", {}).get(SHORTCUT)
    return found if found is not None else Shortcut()
