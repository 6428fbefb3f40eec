"""One live stream: chunks in, events out.

One task does everything of a session in order: it takes what has come, finds where speech is, and when there is enough
new audio asks for the next hypothesis. So at most one step runs, and what comes meanwhile waits for the next one: under
load steps become fewer and longer, not later and later.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any

from . import events
from .aligning import Aligning
from .endpointing import Endpointer, quietest
from .events import at
from .inbox import Command, Inbox
from .listening import MAX_VAD_SAMPLES, Detector, Listening
from .pacing import Pacing
from .parameters import Parameters
from .pcm_buffer import PcmBuffer
from .refusing import refusal
from .rooms import Floats, Rooms
from .settings import Overlap, Settings
from .speaking import Speaking
from .utterance import Utterance
from .voices import Voices

logger = logging.getLogger(__name__)

# Behind all samples.
NEVER = 2**62


class Session:
    """All from the event loop's thread; `run` is the task."""

    def __init__(
        self,
        name: str,
        rooms: Rooms,
        detector: Detector,
        settings: Settings,
        speak: Callable[[dict[str, Any]], None],
        limits: Parameters,
        overlap: Overlap | None = None,
    ) -> None:
        """speak: called with every event. overlap: where it goes on from another session."""
        overlap = overlap or Overlap()
        self.name = name
        self._rooms = rooms
        self._settings = settings
        self._say = speak
        self._limits = limits
        self._inbox = Inbox(limits.max_backlog_s)
        self._buffer = PcmBuffer()
        self._endpointer = Endpointer()
        self._listening = Listening(detector, overlap.unheard)
        self._endpointer.skip_to(overlap.unheard)
        # Audio before this sample belongs to utterances that are finished, or to none.
        self._floor = overlap.told
        self._speaking: Speaking | None = None
        self._aligning = Aligning(rooms, speak)
        self._voices = Voices(rooms, speak, overlap.speakers)
        self._num_utterances = 0
        self._pacing = Pacing(limits.min_partial_interval_ms / 1000)
        # With this sample there may be more to say: it is judged at once, however few wait with it.
        self._due = NEVER

    @property
    def settings(self) -> Settings:
        """Those that hold now."""
        return self._settings

    @property
    def ended(self) -> bool:
        """Whether it takes nothing more."""
        return self._inbox.ended

    @property
    def resting(self) -> bool:
        """Whether everything that came is done with."""
        return self._inbox.resting

    def push(self, pcm: Floats) -> None:
        """Take the next samples, float32 16 kHz. Raises ValueError where too many wait, SessionEnded after the end."""
        self._inbox.push(pcm)

    def command(self, name: str, change: Callable[[Settings], Settings] | None = None) -> None:
        """flush, reset, end, or settings and how they change; it takes effect at its place among the samples."""
        self._inbox.command(name, change)

    def when_heard(self, tell: Callable[[], None]) -> None:
        """Call this once everything that came before is heard: judged, and in a hypothesis where one was due."""
        self._inbox.when_heard(tell)

    async def run(self) -> None:
        """Until the end, an idle timeout, or cancellation; the last event is `closed`."""
        reason = "error"
        try:
            if await self._is_understood(self._settings, fatal=True):
                reason = await self._until_closed()
                await asyncio.gather(self._aligning.settle(), self._voices.settle())
        except asyncio.CancelledError:
            reason = "cancelled"
            raise
        except Exception as error:
            logger.exception("session %s failed", self.name)
            self._say(events.error(events.FAILED, f"the session failed: {error}", fatal=True))
        finally:
            self._inbox.ended = True
            speaking, self._speaking = self._speaking, None
            self._aligning.cancel()
            self._voices.cancel()
            self._say({"type": "closed", "reason": reason, **at("end", self._buffer.end)})
            if speaking is not None:
                speaking.forget()

    async def _until_closed(self) -> str:
        heard_at = time.monotonic()
        while True:
            # Only audio keeps a place: whoever sends settings alone would hold it for ever.
            left_s = heard_at + self._limits.idle_s - time.monotonic()
            try:
                if left_s <= 0:
                    raise asyncio.TimeoutError
                await self._inbox.arrival(left_s)
            except asyncio.TimeoutError:
                await self._flush("idle")
                return "idle"
            audio = False
            while (item := self._inbox.take(MAX_VAD_SAMPLES)) is not None:
                if isinstance(item, Command):
                    if await self._obey(item):
                        return "end"
                else:
                    audio = True
                    await self._take(item)
                    # Much may have come at once; the others have their turn.
                    await asyncio.sleep(0)
            await self._step()
            self._inbox.tell_heard()
            if audio:
                heard_at = time.monotonic()

    async def _obey(self, command: Command) -> bool:
        """True where it was the end."""
        if command.name in ("flush", "end"):
            await self._flush(command.name)
            if command.name == "flush":
                self._say({"type": "flushed", **at("end", self._buffer.end)})
        elif command.name == "reset":
            await self._reset()
            self._say({"type": "reset", **at("end", self._buffer.end)})
        elif command.change is not None:
            changed = command.change(self._settings)
            if await self._is_understood(changed):
                self._settings = changed
                if self._speaking is not None:
                    # What was heard under other settings says nothing about the same samples under these.
                    self._speaking.forget_hypotheses()
        return command.name == "end"

    async def _is_understood(self, settings: Settings, *, fatal: bool = False) -> bool:
        """At once, not when something is said."""
        why = await refusal(settings, self._rooms)
        if why is not None:
            self._say(events.error(events.INVALID, why, fatal=fatal))
        return why is None

    async def _take(self, parts: list[Floats]) -> None:
        """Hear new samples: utterances begin and end here."""
        for part in parts:
            self._buffer.append(part)
        if self._settings.vad == "off":
            self._open_without_vad()
            await self._cut_if_long(self._buffer.end)
            return
        is_due = self._buffer.end >= self._due
        if self._listening.add(parts) or is_due:
            self._due = NEVER if is_due else self._due
            await self._judge()

    async def _judge(self) -> None:
        """Find speech in the samples that were not judged yet."""
        while await self._judge_to_an_end():
            # Behind an utterance the detector begins anew: what it says depends on nothing that is done with, so that a
            # session that goes on elsewhere from there hears the same.
            anew = max(self._endpointer.position, self._floor)
            self._listening.begin_anew(self._buffer.read(anew, self._buffer.end))
            self._endpointer.skip_to(anew)
        if self._speaking is None:
            # What may still become the beginning of an utterance.
            run = self._endpointer.position if self._endpointer.run_start < 0 else self._endpointer.run_start
            self._buffer.drop_before(max(self._floor, run - self._settings.padding))

    async def _judge_to_an_end(self) -> bool:
        """True where an utterance has ended; what follows is to be judged anew."""
        for probability in self._listening.probabilities():
            self._voices.judged.add(self._endpointer.position, probability)
            transition = self._endpointer.push(probability, self._settings)
            if transition is not None and transition.kind == "started":
                self._open(max(self._floor, transition.sample - self._settings.padding))
            elif transition is not None:
                await self._stop(transition.sample, "silence")
                return True
            await self._cut_if_long(self._endpointer.position)
        return False

    def _open(self, start: int) -> None:
        self._num_utterances += 1
        utterance = Utterance(
            f"{self.name}/{self._num_utterances}",
            self._num_utterances,
            start,
            self._buffer.read,
            self._rooms,
            two_sizes=self._limits.two_sizes,
        )
        self._speaking = Speaking(utterance, self._say, self._limits, self._aligning, self._voices)
        self._pacing.begin(start)
        self._buffer.drop_before(start)
        began = {"type": "speech_started", "utterance": self._num_utterances, **at("start", start)}
        self._say({**began, "due_sample": self._next_due(start)})

    def _open_without_vad(self) -> None:
        # Silence that was judged before `vad` was turned off is forgotten by now.
        start = max(self._floor, self._buffer.start)
        if self._speaking is None and self._buffer.end > start:
            self._open(start)

    async def _cut_if_long(self, position: int) -> None:
        """End an utterance that has reached its longest at its quietest place; what follows is the next one."""
        while self._speaking is not None and position - self._speaking.start >= self._settings.max_utterance:
            start = self._speaking.start
            cut = start + quietest(self._buffer.read(start, start + self._settings.max_utterance))
            await self._finish(cut, "max_utterance")
            silence = self._endpointer.silence_start
            if self._settings.vad == "on" and 0 <= silence <= cut:
                # Nothing was said since: the pause that would have ended it ends it here.
                self._endpointer.stop(cut)
            else:
                self._open(cut)

    async def _stop(self, voice_end: int, reason: str) -> None:
        """End the utterance behind its last voice."""
        assert self._speaking is not None
        end = min(voice_end + self._settings.padding, self._buffer.end)
        await self._finish(max(end, self._speaking.start + 1), reason)

    async def _flush(self, reason: str) -> None:
        """Finish what was said so far, to the last sample."""
        if self._settings.vad == "off":
            self._open_without_vad()
            await self._cut_if_long(self._buffer.end)
            if self._speaking is not None and self._buffer.end > self._speaking.start:
                await self._finish(self._buffer.end, reason)
        else:
            await self._judge()
            early = self._endpointer.start_early()
            if early is not None:
                self._open(max(self._floor, early.sample - self._settings.padding))
            if self._speaking is not None:
                silence = self._endpointer.silence_start
                await self._stop(silence if silence >= 0 else self._buffer.end, reason)
        self._begin_anew()

    async def _reset(self) -> None:
        """Drop what was said since the last final."""
        speaking, self._speaking = self._speaking, None
        if speaking is not None:
            speaking.forget()
        self._begin_anew()

    def _begin_anew(self) -> None:
        """Hear what follows as if nothing had been before."""
        self._floor = self._buffer.end
        self._buffer.drop_before(self._floor)
        self._listening.begin_anew()
        self._endpointer.skip_to(self._buffer.end)

    async def _step(self) -> None:
        """Ask for the next hypothesis, if there is enough new audio with voice in it."""
        speaking, end = self._speaking, self._buffer.end
        if speaking is None:
            return
        early = self._endpointer.end_if_silence_lasts(speaking.start, self._settings)
        if early is not None and not speaking.has_final(early):
            # The final is computed while the pause runs that will end the utterance, or not.
            await self._pacing.turn()
            if await speaking.finish_early(early, self._settings, self._next_due(early)):
                self._pacing.heard(early)
        elif self._pacing.is_due(end, self._settings, self._endpointer.last_voice):
            await self._pacing.turn()
            if await speaking.step(end, self._settings, self._next_due(end)):
                self._pacing.heard(end)

    def _next_due(self, heard_to: int) -> int:
        """The first sample with which there is to be more than a hypothesis up to this one: another one, or a final.
        Whoever sends what comes before it in one piece hears none of them later."""
        assert self._speaking is not None
        due = min(heard_to + self._settings.partial_interval, self._speaking.start + self._settings.max_utterance)
        if self._settings.vad == "on":
            due = min(due, self._endpointer.next_change(self._settings))
        self._due = due
        return due

    async def _finish(self, end: int, reason: str) -> None:
        """Speak the utterance's final text, whatever it takes."""
        assert self._speaking is not None
        # Behind a silence the detector begins anew.
        resume = max(self._endpointer.position, end) if reason == "silence" else None
        await self._speaking.finish(end, reason, self._settings, resume)
        self._speaking = None
        self._floor = end
        self._buffer.drop_before(end)
