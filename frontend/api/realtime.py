"""WS /v1/realtime: OpenAI's Realtime API, transcription sessions."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from typing import Any

from fastapi import APIRouter, WebSocket, WebSocketDisconnect

from frontend.api import duplex
from frontend.api.live_wording import LiveWording
from frontend.api.models import is_served, not_served, served_names
from frontend.api.realtime_events import (
    RealtimeMistake,
    aside,
    audio_of,
    error_event,
    is_sound,
    name_of,
    new_id,
    parsed,
)
from frontend.api.realtime_feed import Feed
from frontend.api.realtime_session import TRANSCRIPTION, RealtimeSession
from frontend.api.realtime_turns import Turns
from frontend.api.transcription_request import NO_SPEAKERS, NO_SPEAKERS_HERE, NO_WORDS, NO_WORDS_HERE
from frontend.api.ws_transcribe import NORMAL, REFUSED, TRY_AGAIN_LATER
from frontend.audio.live_audio import TARGET_HZ, LiveAudio
from frontend.guard.ahead import Turns as MessageTurns
from frontend.guard.shortcut import shortcut_of
from frontend.settings import Settings
from frontend.triton.backend import Backend
from frontend.triton.client import TritonUnavailable
from frontend.triton.lasting_session import LastingSession
from frontend.wording.wanted import WordingMistake

logger = logging.getLogger(__name__)
router = APIRouter()

# A commit needs this much audio.
MIN_COMMIT_MS = 100
# 20 ms: less waits for the next append, or for what else comes.
LEAST_BYTES = 640
# Bytes of a client's audio that are converted at once: about a second.
CONVERTED_AT_ONCE = 48_000
# A client that takes nothing for so long is dropped.
SLOW_READER_S = 30.0
# How the decoder, which knows its tokens, refuses what a session tells it: by its name of the field.
REFUSED_TEXTS = {"CONTEXT": "prompt", "language": "language", "hotword": "hotwords"}


@router.websocket("/v1/realtime")
async def realtime(websocket: WebSocket) -> None:
    """A transcription session, as the `openai` package speaks it."""
    protocol = "realtime" if "realtime" in websocket.scope.get("subprotocols", []) else None
    try:
        await websocket.accept(subprotocol=protocol)
    except (RuntimeError, WebSocketDisconnect, OSError):
        # The client has left before it was let in.
        return
    settings: Settings = websocket.app.state.settings
    backend: Backend = websocket.app.state.backend
    names = served_names(backend, settings)
    asked = websocket.query_params.get("model") or names[0]
    known = is_served(asked, names)
    session = RealtimeSession(new_id("sess"), asked if known else names[0])
    gather_s, metrics = settings.live_gather_ms / 1000, websocket.app.state.metrics
    try:
        async with backend.use() as client:

            def begin() -> LastingSession:
                live = backend.chosen() or client
                return LastingSession(live, session.session_id, backend.connected_live, gather_s, metrics.live_delay)

            connection = Connection(websocket, Feed(begin, session.as_settings()), session, names)
            await connection.run(None if known else not_served(asked, names))
    except TritonUnavailable as error:
        with contextlib.suppress(asyncio.TimeoutError):
            await _send(websocket, error_event(str(error), kind="server_error"))
        await _close(websocket, TRY_AGAIN_LATER)


# Events that may come at once beside sound.
MOST_MESSAGES = 100
# A client that says nothing for so long has forgotten its connection; it holds no place in Triton meanwhile.
SILENCE_S = 900.0


class Connection:
    """One client: its events become requests of a live session, and what that says becomes events again."""

    def __init__(self, websocket: WebSocket, live: Feed, session: RealtimeSession, names: list[str]) -> None:
        self._websocket = websocket
        self._live = live
        self._session = session
        self._names = names
        self._audio = LiveAudio(session.kind, session.rate_hz)
        self._turns = Turns(self._say)
        self._wording = LiveWording(websocket.app.state.wording)
        self._messages = MessageTurns(websocket.app.state.settings.live_messages_per_s, MOST_MESSAGES)
        # Samples that wait for more: a request for each few would cost more than what is in them.
        self._few = b""
        # Samples at 16 kHz: what the client has appended, and up to where that is committed or cleared.
        self._appended = self._committed = 0.0
        self._shortcut = shortcut_of(websocket.scope)
        # Whether the client has left, or takes nothing more.
        self._gone = self._stuck = False
        # The newest change of what the model is told, for the case that it refuses: the client's name of the event, and
        # the session before.
        self._change: tuple[str | None, RealtimeSession] = (None, session)

    async def run(self, wrong_model: str | None) -> None:
        """Until one side ends it. wrong_model: what is to be said of a model that nobody serves."""
        await self._say("session.created", session=self._session.as_json())
        if wrong_model is not None:
            await self._send(error_event(wrong_model, param="model", code="model_not_found"))
        try:
            await duplex.run(
                self._live,
                self._speak(),
                self._listen(),
                lambda: self._live.finish(self._rest() + self._audio.finish()),
                self._websocket.app.state.drain,
                SILENCE_S,
                self._give_up,
            )
        finally:
            await self._wording.close()

    async def _speak(self) -> None:
        """Obey the client's events until it leaves. Whatever they are, the session goes on."""
        while not self._gone:
            try:
                message = await self._websocket.receive()
            except RuntimeError:
                return
            if message["type"] == "websocket.disconnect":
                return
            event: dict[str, Any] | None = None
            try:
                text = message.pop("text", None)
                try:
                    event = await parsed(text)
                finally:
                    del text
                    if not is_sound(event):
                        await self._messages.take()
                await self._obey(event)
            except RealtimeMistake as mistake:
                error = error_event(str(mistake), param=mistake.param, code=mistake.code, event_id=name_of(event))
                await self._send(error)
            except Exception as error:
                logger.exception("an event of session %s failed", self._session.session_id)
                await self._send(
                    error_event(f"the event failed: {error}", kind="server_error", event_id=name_of(event))
                )

    async def _obey(self, event: dict[str, Any]) -> None:
        kind = event.get("type")
        if kind == "session.update":
            await self._update(event)
        elif kind == "input_audio_buffer.append":
            await self._append(event)
        elif kind == "input_audio_buffer.commit":
            await self._commit()
        elif kind == "input_audio_buffer.clear":
            self._committed = self._appended
            await self._live.send(self._rest(), command="reset")
        elif isinstance(kind, str):
            raise RealtimeMistake(f"unknown event {kind[:100]!r} of a transcription session", param="type")
        else:
            raise RealtimeMistake("an event's type must be a text", param="type")

    async def _update(self, event: dict[str, Any]) -> None:
        before = self._session
        updated = before.updated(event.get("session"), self._names).with_lists(self._websocket.app.state.hotword_lists)
        if updated.word_timestamps != "off" and not self._websocket.app.state.backend.has_aligner:
            raise RealtimeMistake(NO_WORDS_HERE, param=f"{TRANSCRIPTION}.word_timestamps", code=NO_WORDS)
        if updated.speakers != "off" and not self._websocket.app.state.backend.has_speakers:
            raise RealtimeMistake(NO_SPEAKERS_HERE, param=f"{TRANSCRIPTION}.speakers", code=NO_SPEAKERS)
        self._reword(updated)
        if (updated.kind, updated.rate_hz) != (before.kind, before.rate_hz):
            await self._live.send(self._rest() + self._audio.finish())
            self._audio = LiveAudio(updated.kind, updated.rate_hz)
        self._session = updated
        if updated.with_texts_of(before) != updated:
            self._change = (name_of(event), before)
        # What came before the change was said before it.
        await self._live.send(self._rest())
        await self._live.change(updated.as_settings())
        await self._say("session.updated", session=updated.as_json())

    def _reword(self, updated: RealtimeSession) -> None:
        """What becomes of finals from now on. Raises RealtimeMistake."""
        try:
            self._wording.change(updated.wording, updated.as_settings())
        except WordingMistake as mistake:
            param = f"{TRANSCRIPTION}.{mistake.param}"
            raise RealtimeMistake(str(mistake), param=param, code=mistake.code) from mistake

    async def _append(self, event: dict[str, Any]) -> None:
        data = await audio_of(event)
        # Going on at the pace of speech takes minutes: as text it is a third larger, and nobody needs it twice.
        event.pop("audio", None)
        audio, size = self._audio, len(data)
        per_sample = 2 if self._session.kind == "audio/pcm" else 1
        for start in range(0, size, CONVERTED_AT_ONCE):
            part = data[start : start + CONVERTED_AT_ONCE]
            # All of a large event, so that the pieces stay in order and no loop is held up by their number.
            samples = await aside(size, lambda part=part: audio.convert(part))  # type: ignore[misc]
            self._appended += len(part) / per_sample * TARGET_HZ / self._session.rate_hz
            self._few += samples
            if len(self._few) >= LEAST_BYTES:
                await self._live.send(self._rest())
            if self._gone or self._shortcut.left:
                # Nobody hears the rest, which takes its time and its memory.
                return

    def _rest(self) -> bytes:
        """The samples that waited."""
        few, self._few = self._few, b""
        return few

    async def _commit(self) -> None:
        pending_ms = 1000 * (self._appended - self._committed) / TARGET_HZ
        if pending_ms < MIN_COMMIT_MS:
            message = f"the buffer has {pending_ms:.0f} ms of audio; a commit needs {MIN_COMMIT_MS}"
            raise RealtimeMistake(message, code="input_audio_buffer_commit_empty")
        self._committed = self._appended
        await self._live.send(self._rest(), command="flush")

    async def _listen(self) -> None:
        """Tell the client what the session says, until it is closed."""
        code = NORMAL
        try:
            async for event in self._wording.events(self._live.events()):
                if event["type"] == "error" and not event.get("utterance"):
                    if event["fatal"]:
                        code = TRY_AGAIN_LATER if event["code"] == "busy" else REFUSED
                    await self._refused(event["message"])
                elif event["type"] == "speech_stopped" and event["reason"] == "silence":
                    # What is before it needs no commit.
                    self._committed = max(self._committed, event["end_sample"])
                await self._turns.tell(event, by_vad=self._session.server_vad)
                if self._stuck:
                    return
        except TritonUnavailable as error:
            code = TRY_AGAIN_LATER
            await self._send(error_event(f"the speech recognizer is lost: {error}", kind="server_error"))
        if not self._gone:
            await _close(self._websocket, code)

    async def _give_up(self) -> None:
        await self._send(error_event("the session could not be ended in time", kind="server_error"))
        if not self._gone:
            await _close(self._websocket, TRY_AGAIN_LATER)

    async def _refused(self, message: str) -> None:
        """Say what the session refuses; where that is a setting, what was before holds again."""
        about = next((field for name, field in REFUSED_TEXTS.items() if name in message), None)
        if about is None:
            await self._send(error_event(message))
            return
        name, before = self._change
        self._session = self._session.with_texts_of(before)
        self._live.restore(self._session.as_settings())
        self._reword(self._session)
        await self._send(error_event(message, param=f"{TRANSCRIPTION}.{about}", event_id=name))

    async def _say(self, kind: str, **fields: Any) -> None:
        await self._send({"type": kind, "event_id": new_id("event"), **fields})

    async def _send(self, event: dict[str, Any]) -> None:
        if self._gone:
            return
        try:
            self._gone = not await _send(self._websocket, event)
        except asyncio.TimeoutError:
            logger.warning("the client of session %s takes nothing more", self._session.session_id)
            self._gone = self._stuck = True


async def _send(websocket: WebSocket, event: dict[str, Any]) -> bool:
    """Send an event; false where nobody is there to take it. Raises asyncio.TimeoutError where it is not taken."""
    try:
        await asyncio.wait_for(websocket.send_text(json.dumps(event, ensure_ascii=False)), SLOW_READER_S)
    except asyncio.TimeoutError:
        raise
    except (RuntimeError, WebSocketDisconnect, OSError):
        return False
    return True


async def _close(websocket: WebSocket, code: int) -> None:
    with contextlib.suppress(RuntimeError, WebSocketDisconnect, OSError, asyncio.TimeoutError):
        await asyncio.wait_for(websocket.close(code), SLOW_READER_S)
