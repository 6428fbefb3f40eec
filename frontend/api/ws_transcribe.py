"""WS /ws/transcribe: 16-bit PCM in, captions out."""

from __future__ import annotations

import contextlib
import json
import uuid
from typing import Any

from fastapi import APIRouter, WebSocket, WebSocketDisconnect

from frontend.api import duplex
from frontend.api.live_settings import wrong_setting
from frontend.api.strict_json import parsed
from frontend.guard.ahead import Turns
from frontend.observe.request_ids import request_id
from frontend.settings import Settings
from frontend.triton.backend import Backend
from frontend.triton.client import TritonUnavailable
from frontend.triton.lasting_session import LastingSession

router = APIRouter()

ACTIONS = ("flush", "reset", "config", "end")
TRY_AGAIN_LATER, REFUSED, NORMAL = 1013, 1008, 1000
# Text messages that may come at once, and the characters of one: settings with a context, every character escaped.
MOST_MESSAGES = 100
MOST_TEXT = 300_000
# 20 ms: less waits for the next message, or for the end.
LEAST_BYTES = 640
# A message of any size goes on in pieces of ten seconds.
PART_BYTES = 320_000


@router.websocket("/ws/transcribe")
async def transcribe(websocket: WebSocket) -> None:
    """Binary messages are samples: s16le, 16 kHz, mono, as many as there are. Text messages are commands:
    {"action": "config", "language": …}, {"action": "flush"}, {"action": "reset"}, {"action": "end"}.

    Answers are the events of the model `asr_stream`, as text. Settings may stand in the URL's query as well.
    """
    await websocket.accept()
    backend: Backend = websocket.app.state.backend
    settings: Settings = websocket.app.state.settings
    asked = dict(websocket.query_params)
    if wrong := wrong_setting(asked):
        await say(websocket, {"type": "error", "code": "invalid", "message": wrong, "fatal": True})
        await websocket.close(REFUSED)
        return
    try:
        async with backend.use() as client:
            name = request_id(websocket.scope) or uuid.uuid4().hex
            session = LastingSession(client, name, backend.connected)
            session.send(parameters=asked)
            await duplex.run(
                session,
                _speak(websocket, session, settings),
                _listen(websocket, session),
                lambda: session.send(end=True),
                websocket.app.state.drain,
                settings.live_silence_s,
                lambda: _give_up(websocket),
            )
    except TritonUnavailable as error:
        await say(websocket, _lost(str(error)))
        await websocket.close(TRY_AGAIN_LATER)


async def _speak(websocket: WebSocket, session: LastingSession, settings: Settings) -> None:
    """Pass on what the client sends, no faster than it may be sent, until it leaves or says `end`."""
    waiting = b""
    turns = Turns(settings.live_messages_per_s, MOST_MESSAGES)
    while True:
        message = await websocket.receive()
        data = message.get("bytes")
        if not data and message["type"] != "websocket.disconnect":
            await turns.take()
        if data is not None:
            waiting += data
            if len(waiting) < LEAST_BYTES:
                # A request for each would cost more than what is in it.
                continue
        # A sample may lie across two messages.
        data, waiting = waiting[: len(waiting) // 2 * 2], waiting[len(waiting) // 2 * 2 :]
        if message["type"] == "websocket.disconnect":
            if data:
                session.send(data)
            return
        if message.get("bytes") is not None:
            for start in range(0, len(data), PART_BYTES):
                session.send(data[start : start + PART_BYTES])
                await session.room(settings.live_ahead_s)
            continue
        if data:
            session.send(data)
        error = command(session, message.get("text") or "")
        if error is not None:
            await say(websocket, {"type": "error", "code": "invalid", "message": error, "fatal": False})
        if session.ended:
            return


def command(session: LastingSession, text: str) -> str | None:
    """Obey a text message; returns what is wrong with it, or None."""
    if len(text) > MOST_TEXT:
        return f"a text message has {len(text)} characters; {MOST_TEXT} are the most"
    try:
        fields: Any = parsed(text)
    except ValueError:
        return "a text message must be a json object"
    if not isinstance(fields, dict) or fields.get("action") not in ACTIONS:
        return f"action must be one of {', '.join(ACTIONS)}"
    action = fields.pop("action")
    if action == "end":
        session.send(end=True)
    elif action != "config":
        session.send(parameters={"command": action})
    elif not fields:
        return "config names no setting"
    elif wrong := wrong_setting(fields):
        return wrong
    else:
        session.send(parameters=fields)
    return None


async def _listen(websocket: WebSocket, session: LastingSession) -> None:
    """Pass on what the session says, until it is closed."""
    code = NORMAL
    try:
        async for event in session.events():
            if event["type"] == "error" and event["fatal"]:
                code = TRY_AGAIN_LATER if event["code"] == "busy" else REFUSED
            await say(websocket, event)
    except TritonUnavailable as error:
        code = TRY_AGAIN_LATER
        await say(websocket, _lost(f"the speech recognizer is lost: {error}"))
    with contextlib.suppress(RuntimeError, WebSocketDisconnect):
        await websocket.close(code)


def _lost(message: str) -> dict[str, Any]:
    """The event of a session whose Triton is away, and stays so."""
    return {"type": "error", "code": "unavailable", "message": message, "fatal": True}


async def _give_up(websocket: WebSocket) -> None:
    await say(websocket, _lost("the session could not be ended in time"))
    with contextlib.suppress(RuntimeError, WebSocketDisconnect):
        await websocket.close(TRY_AGAIN_LATER)


async def say(websocket: WebSocket, event: dict[str, Any]) -> None:
    """Send an event; nobody is there to take it where the client has left."""
    with contextlib.suppress(RuntimeError, WebSocketDisconnect):
        await websocket.send_text(json.dumps(event, ensure_ascii=False))
