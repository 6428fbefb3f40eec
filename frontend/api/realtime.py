"""WS /v1/realtime: OpenAI's Realtime API, transcription sessions."""

from __future__ import annotations

import base64
import binascii
import contextlib
import json
import uuid
from typing import Any

from fastapi import APIRouter, WebSocket

from frontend.api import duplex
from frontend.api.models import served_names
from frontend.api.realtime_session import RealtimeMistake, RealtimeSession
from frontend.api.ws_transcribe import NORMAL, REFUSED, TRY_AGAIN_LATER, say
from frontend.audio.live_audio import LiveAudio
from frontend.settings import Settings
from frontend.triton.backend import Backend
from frontend.triton.client import TritonUnavailable
from frontend.triton.lasting_session import LastingSession

router = APIRouter()

# OpenAI's own bound for the audio of one event.
MAX_APPEND_BYTES = 15 * 2**20
# A commit needs this much audio.
MIN_COMMIT_MS = 100


@router.websocket("/v1/realtime")
async def realtime(websocket: WebSocket) -> None:
    """A transcription session, as the `openai` package speaks it."""
    await websocket.accept(subprotocol="realtime" if "realtime" in websocket.scope.get("subprotocols", []) else None)
    settings: Settings = websocket.app.state.settings
    backend: Backend = websocket.app.state.backend
    names = served_names(backend, settings)
    asked = websocket.query_params.get("model") or names[0]
    session = RealtimeSession(_id("sess"), asked if asked in names else names[0])
    try:
        async with backend.use() as client:
            connection = Connection(
                websocket, LastingSession(client, session.session_id, backend.connected), session, names
            )
            await connection.run(known_model=asked in names, asked=asked)
    except TritonUnavailable as error:
        await say(websocket, _error(str(error), kind="server_error"))
        await websocket.close(TRY_AGAIN_LATER)


class Connection:
    """One client: its events become requests of a live session, and what that says becomes events again."""

    def __init__(self, websocket: WebSocket, live: LastingSession, session: RealtimeSession, names: list[str]) -> None:
        self._websocket = websocket
        self._live = live
        self._session = session
        self._names = names
        self._audio = LiveAudio(session.kind, session.rate_hz)
        self._items: dict[int, str] = {}
        self._shown: dict[int, str] = {}
        self._previous: str | None = None
        # Milliseconds of audio since the last commit or clear.
        self._pending_ms = 0.0

    async def run(self, *, known_model: bool, asked: str) -> None:
        self._live.send(parameters=self._session.as_settings())
        await self._say("session.created", session=self._session.as_json())
        if not known_model:
            message = f"the model {asked!r} does not exist; served are {', '.join(self._names)}"
            await say(self._websocket, _error(message, param="model", code="model_not_found"))
        await duplex.run(
            self._live,
            self._speak(),
            self._listen(),
            lambda: self._live.send(self._audio.finish(), end=True),
            self._websocket.app.state.drain,
            self._give_up,
        )

    async def _speak(self) -> None:
        """Obey the client's events until it leaves."""
        while True:
            message = await self._websocket.receive()
            if message["type"] == "websocket.disconnect":
                return
            event: Any = None
            try:
                event = json.loads(message.get("text") or "")
                await self._obey(event)
            except json.JSONDecodeError:
                await say(self._websocket, _error("an event must be a json object"))
            except RealtimeMistake as mistake:
                name = event.get("event_id") if isinstance(event, dict) else None
                await say(self._websocket, _error(str(mistake), param=mistake.param, code=mistake.code, event_id=name))

    async def _obey(self, event: Any) -> None:
        if not isinstance(event, dict):
            raise RealtimeMistake("an event must be a json object")
        kind = event.get("type")
        if kind == "session.update":
            await self._update(event.get("session"))
        elif kind == "input_audio_buffer.append":
            self._append(event.get("audio"))
        elif kind == "input_audio_buffer.commit":
            if self._pending_ms < MIN_COMMIT_MS:
                message = f"the buffer has {self._pending_ms:.0f} ms of audio; a commit needs {MIN_COMMIT_MS}"
                raise RealtimeMistake(message, code="input_audio_buffer_commit_empty")
            self._pending_ms = 0.0
            self._live.send(parameters={"command": "flush"})
        elif kind == "input_audio_buffer.clear":
            self._pending_ms = 0.0
            self._live.send(parameters={"command": "reset"})
        else:
            raise RealtimeMistake(f"unknown event {kind!r} of a transcription session", param="type")

    async def _update(self, wanted: Any) -> None:
        updated = self._session.updated(wanted, self._names)
        if (updated.kind, updated.rate_hz) != (self._session.kind, self._session.rate_hz):
            self._live.send(self._audio.finish())
            self._audio = LiveAudio(updated.kind, updated.rate_hz)
        self._session = updated
        self._live.send(parameters=updated.as_settings())
        await self._say("session.updated", session=updated.as_json())

    def _append(self, audio: Any) -> None:
        if not isinstance(audio, str):
            raise RealtimeMistake("audio must be base64", param="audio")
        if len(audio) > MAX_APPEND_BYTES * 4 // 3:
            raise RealtimeMistake(f"audio has more than {MAX_APPEND_BYTES} bytes", param="audio")
        try:
            data = base64.b64decode(audio, validate=True)
        except (binascii.Error, ValueError) as error:
            raise RealtimeMistake(f"audio is not base64: {error}", param="audio") from error
        per_sample = 2 if self._session.kind == "audio/pcm" else 1
        self._pending_ms += 1000 * len(data) / per_sample / self._session.rate_hz
        samples = self._audio.convert(data)
        if samples:
            self._live.send(samples)

    async def _listen(self) -> None:
        """Tell the client what the session says, until it is closed."""
        code = NORMAL
        try:
            async for event in self._live.events():
                if event["type"] == "error" and event["fatal"]:
                    code = TRY_AGAIN_LATER if event["code"] == "busy" else REFUSED
                await self._tell(event)
        except TritonUnavailable as error:
            code = TRY_AGAIN_LATER
            await say(self._websocket, _error(f"the speech recognizer is lost: {error}", kind="server_error"))
        with contextlib.suppress(RuntimeError):
            await self._websocket.close(code)

    async def _give_up(self) -> None:
        await say(self._websocket, _error("the session could not be ended in time", kind="server_error"))
        with contextlib.suppress(RuntimeError):
            await self._websocket.close(TRY_AGAIN_LATER)

    async def _tell(self, event: dict[str, Any]) -> None:
        kind, number = event["type"], event.get("utterance", 0)
        item = self._items.setdefault(number, _id("item")) if number else ""
        by_vad = self._session.server_vad
        if kind == "speech_started" and by_vad:
            start_ms = round(1000 * event["start"])
            await self._say("input_audio_buffer.speech_started", audio_start_ms=start_ms, item_id=item)
        elif kind == "partial":
            await self._delta(number, item, event["stable"])
        elif kind == "speech_stopped":
            if by_vad:
                end_ms = round(1000 * event["end"])
                await self._say("input_audio_buffer.speech_stopped", audio_end_ms=end_ms, item_id=item)
            await self._say("input_audio_buffer.committed", item_id=item, previous_item_id=self._previous)
            await self._say("conversation.item.added", item=_item(item), previous_item_id=self._previous)
            self._previous = item
            self._pending_ms = 0.0
        elif kind == "final":
            if not event["revised"]:
                await self._delta(number, item, event["text"])
            await self._say(
                "conversation.item.input_audio_transcription.completed",
                item_id=item,
                content_index=0,
                transcript=event["text"],
                usage={"type": "duration", "seconds": round(event["end"] - event["start"], 3)},
            )
            self._items.pop(number, None)
            self._shown.pop(number, None)
        elif kind == "reset":
            await self._say("input_audio_buffer.cleared")
        elif kind == "error" and number:
            error = {"type": "server_error", "code": None, "message": event["message"], "param": None}
            failed = "conversation.item.input_audio_transcription.failed"
            await self._say(failed, item_id=item, content_index=0, error=error)
        elif kind == "error":
            await say(self._websocket, _error(event["message"]))

    async def _delta(self, number: int, item: str, stable: str) -> None:
        """Deltas only append: what is stable and was not told."""
        shown = self._shown.get(number, "")
        if stable.startswith(shown) and len(stable) > len(shown):
            self._shown[number] = stable
            await self._say(
                "conversation.item.input_audio_transcription.delta",
                item_id=item,
                content_index=0,
                delta=stable[len(shown) :],
            )

    async def _say(self, kind: str, **fields: Any) -> None:
        await say(self._websocket, {"type": kind, "event_id": _id("event"), **fields})


def _item(item: str) -> dict[str, Any]:
    content = [{"type": "input_audio", "transcript": None}]
    return {
        "id": item,
        "object": "realtime.item",
        "type": "message",
        "status": "completed",
        "role": "user",
        "content": content,
    }


def _error(
    message: str,
    *,
    kind: str = "invalid_request_error",
    param: str | None = None,
    code: str | None = None,
    event_id: str | None = None,
) -> dict[str, Any]:
    error = {"type": kind, "code": code, "message": message, "param": param, "event_id": event_id}
    return {"type": "error", "event_id": _id("event"), "error": error}


def _id(prefix: str) -> str:
    return f"{prefix}_{uuid.uuid4().hex[:24]}"
