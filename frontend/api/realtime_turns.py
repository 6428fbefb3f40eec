"""What a live session says, as the events of a Realtime conversation: every turn is an item."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from frontend.api.languages import as_codes
from frontend.api.realtime_events import new_id
from frontend.audio.joining import separator

TRANSCRIPTION = "conversation.item.input_audio_transcription"

# Utterances whose items are remembered for what is told of their speakers later, as many as `asr_stream` corrects.
MOST_CORRECTED = 200


@dataclass
class _Item:
    """A turn. by_vad: its ends are found here, and told; otherwise it lasts until the client commits it, and a long one
    is several utterances. text: of those that are final; recognized: the same before it was rewritten, from which
    deltas go on; shown: what deltas have told; words, speakers: of finals that brought theirs."""

    by_vad: bool
    name: str = field(default_factory=lambda: new_id("item"))
    text: str = ""
    recognized: str = ""
    shown: str = ""
    seconds: float = 0.0
    languages: list[str] = field(default_factory=list)
    words: list[dict[str, Any]] = field(default_factory=list)
    words_error: str = ""
    speakers: list[str] = field(default_factory=list)
    committed: bool = False
    failed: bool = False

    def with_text(self, more: str) -> str:
        return _joined(self.recognized, more)


class Turns:
    """`tell` with each event of the session, in order. A turn keeps its item whatever server hears it."""

    def __init__(self, say: Callable[..., Awaitable[None]]) -> None:
        """say: called with an event's type and its fields."""
        self._say = say
        self._items: dict[int, _Item] = {}
        # The client's turn that is not committed yet, where something of it was heard.
        self._open: _Item | None = None
        # By utterance: items of finals whose words follow.
        self._followed: dict[int, str] = {}
        # Those whose correction follows.
        self._corrected: dict[int, str] = {}
        # Of all that may be told to be somebody else's.
        self._spoken: dict[int, str] = {}
        self._previous: str | None = None
        # Whether the commit that is being obeyed has ended an utterance.
        self._ended_one = False

    async def tell(self, event: dict[str, Any], *, by_vad: bool) -> None:
        """by_vad: who ends the turns that begin now."""
        kind, number = event["type"], event.get("utterance", 0)
        if kind == "speech_started":
            await self._started(number, event, by_vad)
        elif kind == "partial":
            item = self._item(number, by_vad)
            await self._delta(item, item.with_text(event["stable"]))
        elif kind == "speech_stopped":
            await self._stopped(self._item(number, by_vad), event)
        elif kind == "final":
            item = self._item(number, by_vad)
            if event.get("words_follow"):
                self._followed[number] = item.name
            if event.get("speaker_follows") or "speaker" in event:
                self._spoken[number] = item.name
                while len(self._spoken) > MOST_CORRECTED:
                    self._spoken.pop(next(iter(self._spoken)))
            if event.get("correction_follows"):
                self._corrected[number] = item.name
            await self._final(item, event)
            self._items.pop(number, None)
        elif kind == "words" and (name := self._followed.pop(number, None)) is not None:
            await self._say(f"{TRANSCRIPTION}.words", item_id=name, content_index=0, **_words(event))
        elif kind == "speaker" and (name := self._spoken.get(number)) is not None:
            told = {key: value for key, value in event.items() if key not in ("type", "utterance")}
            await self._say(f"{TRANSCRIPTION}.speaker", item_id=name, content_index=0, **told)
        elif kind == "corrected" and (name := self._corrected.pop(number, None)) is not None:
            told = {key: value for key, value in event.items() if key not in ("type", "utterance")}
            await self._say(f"{TRANSCRIPTION}.corrected", item_id=name, content_index=0, **told)
        elif kind == "flushed":
            await self._flushed(by_vad)
        elif kind == "reset":
            self._items.clear()
            self._open = None
            await self._say("input_audio_buffer.cleared")
        elif kind == "error" and number:
            await self._failed(self._item(number, by_vad), event["message"])
            self._items.pop(number, None)

    def _item(self, number: int, by_vad: bool) -> _Item:
        if number not in self._items:
            if by_vad:
                self._items[number] = _Item(by_vad=True)
            else:
                self._open = self._items[number] = self._open or _Item(by_vad=False)
        return self._items[number]

    async def _started(self, number: int, event: dict[str, Any], by_vad: bool) -> None:
        item = self._item(number, by_vad)
        if item.by_vad:
            start_ms = round(1000 * event["start"])
            await self._say("input_audio_buffer.speech_started", audio_start_ms=start_ms, item_id=item.name)

    async def _stopped(self, item: _Item, event: dict[str, Any]) -> None:
        if item.by_vad:
            end_ms = round(1000 * event["end"])
            await self._say("input_audio_buffer.speech_stopped", audio_end_ms=end_ms, item_id=item.name)
        elif event["reason"] in ("max_utterance", "idle"):
            # The model is given no more at a time, or no sound came for a while; the client's turn goes on.
            return
        self._ended_one = event["reason"] == "flush"
        await self._commit(item)

    async def _commit(self, item: _Item) -> None:
        item.committed = True
        if self._open is item:
            self._open = None
        await self._say("input_audio_buffer.committed", item_id=item.name, previous_item_id=self._previous)
        await self._say("conversation.item.added", item=_message(item.name), previous_item_id=self._previous)
        self._previous = item.name

    async def _final(self, item: _Item, event: dict[str, Any]) -> None:
        item.recognized = _joined(item.recognized, event.get("recognized", event["text"]))
        item.text = _joined(item.text, event["text"])
        item.seconds += event["end"] - event["start"]
        item.words += event.get("words", [])
        item.words_error = item.words_error or event.get("words_error", "")
        item.speakers += [event["speaker"]] if event.get("speaker") else []
        if event.get("language"):
            item.languages = list(dict.fromkeys([*item.languages, event["language"]]))
        # Where it goes on from what was told; deltas are of what was recognized.
        await self._delta(item, item.recognized)
        if item.committed:
            await self._completed(item)

    async def _flushed(self, by_vad: bool) -> None:
        """A commit was obeyed. Nothing may have been said in what it committed: that is a turn without text."""
        ended_one, self._ended_one = self._ended_one, False
        if not ended_one:
            item = self._open or _Item(by_vad=by_vad)
            await self._commit(item)
            await self._completed(item)

    async def _completed(self, item: _Item) -> None:
        if item.failed:
            return
        await self._say(
            f"{TRANSCRIPTION}.completed",
            item_id=item.name,
            content_index=0,
            transcript=item.text,
            **({"recognized": item.recognized} if item.recognized != item.text else {}),
            languages=as_codes(item.languages),
            usage={"type": "duration", "seconds": round(item.seconds, 3)},
            **(_words(vars(item)) if item.words or item.words_error else {}),
            # A long turn is several utterances: the first one's.
            **({"speaker": item.speakers[0]} if item.speakers else {}),
        )

    async def _failed(self, item: _Item, message: str) -> None:
        if not item.failed:
            item.failed = True
            error = {"type": "server_error", "code": None, "message": message, "param": None}
            await self._say(f"{TRANSCRIPTION}.failed", item_id=item.name, content_index=0, error=error)

    async def _delta(self, item: _Item, text: str) -> None:
        """Deltas only append: what is stable and was not told."""
        if text.startswith(item.shown) and len(text) > len(item.shown):
            delta, item.shown = text[len(item.shown) :], text
            await self._say(f"{TRANSCRIPTION}.delta", item_id=item.name, content_index=0, delta=delta)


def _joined(text: str, more: str) -> str:
    return f"{text}{separator(text, more)}{more}" if more else text


def _words(told: Mapping[str, Any]) -> dict[str, Any]:
    """`words`, and why they are not known where they are not."""
    error = told.get("words_error")
    return {"words": told["words"], **({"words_error": error} if error else {})}


def _message(name: str) -> dict[str, Any]:
    content = [{"type": "input_audio", "transcript": None}]
    return {
        "id": name,
        "object": "realtime.item",
        "type": "message",
        "status": "completed",
        "role": "user",
        "content": content,
    }
