"""WS /ws/transcribe: 16-bit PCM in, captions out."""

from __future__ import annotations

import contextlib
import json
import uuid
from typing import Any

from fastapi import APIRouter, WebSocket, WebSocketDisconnect

from frontend.api import duplex
from frontend.api.hotword_fields import LiveHotwords
from frontend.api.live_settings import WORDING, wrong_setting
from frontend.api.live_wording import LiveWording
from frontend.api.strict_json import parsed
from frontend.guard.ahead import Turns
from frontend.guard.shortcut import Shortcut, shortcut_of
from frontend.observe.request_ids import request_id
from frontend.settings import Settings
from frontend.triton.backend import Backend
from frontend.triton.client import TritonUnavailable
from frontend.triton.lasting_session import LastingSession
from frontend.wording.hotwords import HotwordLists, WrongHotwords
from frontend.wording.wanted import WordingMistake

router = APIRouter()

ACTIONS = ("flush", "reset", "config", "end")
TRY_AGAIN_LATER, REFUSED, NORMAL = 1013, 1008, 1000
# Text messages that may come at once, and the characters of one: settings with a context, every character escaped.
MOST_MESSAGES = 100
MOST_TEXT = 300_000
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
    asked: dict[str, Any] = dict(websocket.query_params)
    wording = LiveWording(websocket.app.state.wording)
    setting = Setting(websocket.app.state.hotword_lists, wording)
    wrong, parameters = setting.changed(asked)
    if wrong:
        await say(websocket, {"type": "error", "code": "invalid", "message": wrong, "fatal": True})
        await websocket.close(REFUSED)
        return
    try:
        async with backend.use() as client:
            name = request_id(websocket.scope) or uuid.uuid4().hex
            gather_s, metrics = settings.live_gather_ms / 1000, websocket.app.state.metrics
            session = LastingSession(client, name, backend.connected_live, gather_s, metrics.live_delay)
            session.send(parameters=parameters)
            await duplex.run(
                session,
                _speak(websocket, session, settings, setting),
                _listen(websocket, session, wording),
                lambda: session.send(end=True),
                websocket.app.state.drain,
                settings.live_silence_s,
                lambda: _give_up(websocket),
            )
    except TritonUnavailable as error:
        await say(websocket, _lost(str(error)))
        await websocket.close(TRY_AGAIN_LATER)
    finally:
        await wording.close()


async def _speak(websocket: WebSocket, session: LastingSession, settings: Settings, setting: Setting) -> None:
    """Pass on what the client sends, no faster than it may be sent, until it leaves or says `end`."""
    shortcut = shortcut_of(websocket.scope)
    sound = _Sound(session, settings.live_ahead_s, shortcut)
    turns = Turns(settings.live_messages_per_s, MOST_MESSAGES)
    while True:
        shortcut.take = sound.take
        try:
            message = await websocket.receive()
        finally:
            # Until this one is done with, nothing overtakes it.
            shortcut.take = None
        if message["type"] == "websocket.disconnect":
            return
        data = message.get("bytes")
        if not data:
            await turns.take()
        if data is not None:
            await sound.pass_on(data)
            continue
        error = command(session, message.get("text") or "", setting)
        if error is not None:
            await say(websocket, {"type": "error", "code": "invalid", "message": error, "fatal": False})
        if session.ended:
            return


class _Sound:
    """A client's binary messages, whose samples may lie across two of them."""

    def __init__(self, session: LastingSession, ahead_s: float, shortcut: Shortcut) -> None:
        """ahead_s: how far it may be ahead of the clock before it is read at its pace. shortcut: its connection's."""
        self._session = session
        self._shortcut = shortcut
        self._ahead_s = ahead_s
        self._half = b""

    def take(self, data: bytes) -> bool:
        """Pass whole samples on at once; false where there are halves of one, none, too many or too early ones."""
        plain = bool(data) and not self._half and not len(data) % 2 and len(data) <= PART_BYTES
        if not plain or not self._session.has_room(self._ahead_s):
            return False
        self._session.send(data)
        return True

    async def pass_on(self, data: bytes) -> None:
        """Pass on all but half a sample, as there is room for it."""
        data = self._half + data
        whole = len(data) // 2 * 2
        self._half = data[whole:]
        for start in range(0, whole, PART_BYTES):
            self._session.send(data[start : min(whole, start + PART_BYTES)])
            await self._session.room(self._ahead_s)
            if self._shortcut.left:
                # Nobody hears the rest, which takes minutes and its memory.
                return


class Setting:
    """What a session is set to beside what `asr_stream` keeps: its hotwords, and the wording of its finals."""

    def __init__(self, lists: HotwordLists, wording: LiveWording) -> None:
        self._lists = lists
        self._wording = wording
        self._hotwords = LiveHotwords()

    def changed(self, asked: dict[str, Any]) -> tuple[str | None, dict[str, Any]]:
        """What is wrong with settings, which change nothing then, or None; and how `asr_stream` takes them: without
        those of finals' wording."""
        try:
            self._wording.checked(asked)
            hotwords = self._hotwords.changed(asked)
            others = {name: value for name, value in asked.items() if name not in WORDING}
            settings = hotwords.for_asr_stream(others, self._lists)
        except (WrongHotwords, WordingMistake) as error:
            return str(error), asked
        wrong = wrong_setting(settings)
        if wrong is None:
            self._hotwords = hotwords
            self._wording.change(asked, settings)
        return wrong, settings


def command(session: LastingSession, text: str, setting: Setting) -> str | None:
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
    else:
        wrong, parameters = setting.changed(fields)
        if wrong:
            return wrong
        if parameters:
            session.send(parameters=parameters)
    return None


async def _listen(websocket: WebSocket, session: LastingSession, wording: LiveWording) -> None:
    """Pass on what the session says, until it is closed."""
    code = NORMAL
    try:
        async for event in wording.events(session.events()):
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
