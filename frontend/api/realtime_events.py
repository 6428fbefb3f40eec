"""Events of the Realtime API: the client's, read with care, and the server's, made."""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import re
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")

# OpenAI's own bound for the audio of one event.
MAX_APPEND_BYTES = 15 * 2**20
# Work on less than this is done before a thread would have taken it.
SMALL = 64 * 1024
# Characters of base64 that are decoded at once: in between the interpreter's lock is given to others.
SLICE = 256 * 1024
MOST_CHARACTERS = 512
# Characters of an event beside its sound: settings with a context, every character escaped.
MOST_EVENT = 300_000
# Characters of base64, some 5 ms: an append with less is charged as a command, as each costs a request.
SMALL_APPEND = 300
APPEND = "input_audio_buffer.append"
AUDIO = re.compile(r'"audio"\s*:\s*"([A-Za-z0-9+/=\\]*)"')

_pool = ThreadPoolExecutor(max_workers=2, thread_name_prefix="realtime")


class RealtimeMistake(ValueError):
    """A client's event that cannot be obeyed; `param` is the field at fault, `code` OpenAI's short name."""

    def __init__(self, message: str, *, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.param = param
        self.code = code


async def aside(size: int, work: Callable[[], T]) -> T:
    """The result of this work, done here where its size (bytes or characters) is small, else in a thread of the two
    that there are for it: everybody's events go by the loop's own."""
    if size <= SMALL:
        return work()
    return await asyncio.get_running_loop().run_in_executor(_pool, work)


async def parsed(text: str | None) -> dict[str, Any]:
    """A client's message as an event; None: it was no text. Raises RealtimeMistake."""
    if text is None:
        raise RealtimeMistake("an event must be a text message with a json object; this one was binary")
    message = text
    try:
        event = await aside(len(message), lambda: _loaded(message))
    except RealtimeMistake:
        raise
    except (ValueError, RecursionError) as error:
        raise RealtimeMistake("an event must be a json object") from error
    if not isinstance(event, dict):
        raise RealtimeMistake("an event must be a json object")
    return event


async def audio_of(event: dict[str, Any]) -> bytes:
    """The bytes that an append brings. Raises RealtimeMistake."""
    audio = event.get("audio")
    if not isinstance(audio, str):
        raise RealtimeMistake("audio must be base64", param="audio")
    if len(audio) > MAX_APPEND_BYTES // 3 * 4:
        raise RealtimeMistake(f"audio has more than {MAX_APPEND_BYTES} bytes", param="audio")
    try:
        return await aside(len(audio), lambda: _decoded(audio))
    except ValueError as error:
        raise RealtimeMistake(f"audio is not base64: {error}", param="audio") from error


def name_of(event: Any) -> str | None:
    """The client's own id of its event, where it has one that can be repeated."""
    name = event.get("event_id") if isinstance(event, dict) else None
    return name if isinstance(name, str) and len(name) <= MOST_CHARACTERS and is_text(name) else None


def is_text(value: object) -> bool:
    """Whether this is text that can be sent on: json may hold halves of characters, which UTF-8 has none for."""
    if not isinstance(value, str):
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def is_sound(event: dict[str, Any] | None) -> bool:
    """Whether a client's event brings sound enough to be none of those that are counted."""
    if event is None or event.get("type") != APPEND:
        return False
    audio = event.get("audio")
    return isinstance(audio, str) and len(audio) >= SMALL_APPEND


def error_event(
    message: str,
    *,
    kind: str = "invalid_request_error",
    param: str | None = None,
    code: str | None = None,
    event_id: str | None = None,
) -> dict[str, Any]:
    """event_id: the client's event that was at fault."""
    error = {"type": kind, "code": code, "message": message, "param": param, "event_id": event_id}
    return {"type": "error", "event_id": new_id("event"), "error": error}


def new_id(prefix: str) -> str:
    return f"{prefix}_{uuid.uuid4().hex[:24]}"


def _loaded(message: str) -> Any:
    """A message as json. Only an append may be large, by its sound, which is taken out before the rest is read: reading
    holds the interpreter's lock, seconds for a message that is made for it."""
    if len(message) <= MOST_EVENT:
        return json.loads(message, parse_constant=_no_constant)
    sound = AUDIO.search(message)
    if sound is None or len(message) - len(sound[1]) > MOST_EVENT:
        raise RealtimeMistake(f"an event has at most {MOST_EVENT} characters beside the audio of an append")
    event = json.loads(message[: sound.start(1)] + message[sound.end(1) :], parse_constant=_no_constant)
    if not isinstance(event, dict) or event.get("type") != APPEND or event.get("audio") != "":
        raise RealtimeMistake(f"an event has at most {MOST_EVENT} characters beside the audio of an append")
    # Some write a slash as json lets them.
    event["audio"] = sound[1].replace("\\/", "/")
    return event


def _decoded(audio: str) -> bytes:
    parts = []
    for start in range(0, len(audio), SLICE):
        part = audio[start : start + SLICE]
        if "=" in part and start + SLICE < len(audio):
            raise binascii.Error("padding in the middle")
        parts.append(base64.b64decode(part, validate=True))
    return b"".join(parts)


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no json")
