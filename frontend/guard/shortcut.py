"""The short way of a WebSocket's binary messages: straight from the connection to its route."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

# In a WebSocket's scope, among the extensions: its Shortcut.
SHORTCUT = "frontend.shortcut"


@dataclass
class Shortcut:
    """How a route takes binary messages as they come, which costs a fraction of a turn of its task for each. take:
    whether it took the message; the route is told of others as of all messages. None while order asks for that."""

    take: Callable[[bytes], bool] | None = None
