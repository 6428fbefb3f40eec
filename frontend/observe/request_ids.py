"""X-Request-ID, a client's name for its request, which goes into logs, traces and to Triton."""

from __future__ import annotations

import re

from starlette.types import Scope

MAX_CHARACTERS = 100
# Visible ASCII: nothing that could begin a line of its own.
NAME = re.compile(rb"[\x21-\x7e]{1,%d}" % MAX_CHARACTERS)


def request_id(scope: Scope) -> str:
    """The client's name for its request, "" where it has none or one that cannot be one."""
    name = next((value for key, value in scope["headers"] if key == b"x-request-id"), b"")
    return name.decode("ascii") if NAME.fullmatch(name) else ""
