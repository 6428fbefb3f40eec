"""What of a live session would have to be said again if its server were lost, and what was told already."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from frontend.triton.event_times import later

SAMPLE_RATE_HZ = 16_000
# The detector of speech judges windows of so many samples.
WINDOW = 512
# Sound before what is to be heard again, for a detector that has heard nothing yet. Where the first one began anew at a
# known sample, as it does behind an utterance, none is needed: it is made to begin there again.
LEAD = 32 * WINDOW
# While nobody speaks: what is older was judged long ago. That is half a megabyte for each of hundreds of sessions. A
# client that sends faster than it speaks has what it sent in as many seconds by the clock, judged or not.
SILENCE_S = 20
SILENCE = SILENCE_S * SAMPLE_RATE_HZ
# How often the clock is looked at for that.
MARK_S = 0.5
# Changes of settings that are kept apart, in case that one of them is refused.
MOST_CHANGES = 50
# Sound is kept in pieces of so many bytes, a second, however small the requests were.
PIECE_BYTES = 2 * SAMPLE_RATE_HZ
# More than the longest utterance of the usual settings; `asr_stream` takes 120 s at a time.
LONGEST = 110 * SAMPLE_RATE_HZ
WORDS_LOST = "the server that was to find them was lost"
# `told_speakers` of a session that goes on, at most: with more, letters are given again.
MOST_TOLD = 1_000
SPEAKER_LOST = "the server that was to tell was lost"


@dataclass(frozen=True)
class Sent:
    """A request as it was sent. position: the session's samples before it. number: of one that is more than sound,
    counted from 1."""

    position: int
    pcm16: bytes = b""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    end: bool = False
    number: int = 0

    @property
    def after(self) -> int:
        """The session's samples behind it."""
        return self.position + len(self.pcm16) // 2


class Journal:
    """Samples from the beginning of the utterance that has no final yet, settings, and a clock that goes on."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """clock: seconds that only grow."""
        self._clock = clock
        self._sent: deque[Sent] = deque()
        # By the numbers of their requests.
        self._changes: list[tuple[int, dict[str, Any]]] = []
        self._position = 0
        self._num_requests = 0
        # Times by the clock, and what had been sent by then.
        self._marks: deque[tuple[float, int]] = deque([(clock(), 0)])
        # Where the stream of now begins, in samples and utterances of the session.
        self._base = self._numbers = 0
        # Before this sample everything has its final.
        self._floor = 0
        # What is before this one is not heard again.
        self._needed = 0
        # Where the detector began anew, which its windows are counted from, and whether all sound since is kept.
        self._anew, self._is_whole = 0, True
        self._finals = 0
        self._started: dict[int, int] = {}
        self._stopped: set[int] = set()
        self._stable: dict[int, str] = {}
        # Finals whose words were to follow, and whose speakers.
        self._wordless: set[int] = set()
        self._speakerless: set[int] = set()
        # Speakers that have been told: another stream begins behind their letters, for it knows nobody's voice.
        self._num_speakers = 0

    def note(self, pcm16: bytes, parameters: Mapping[str, Any], *, end: bool) -> int:
        """A request that is sent: int16 samples at 16 kHz, settings or a command. Returns its number, by which it may
        be refused; 0 where it is sound alone."""
        changes = {name: value for name, value in parameters.items() if name not in ("command", "hold")}
        commands = {name: value for name, value in parameters.items() if name == "command"}
        number = 0
        if changes or commands:
            self._num_requests += 1
            number = self._num_requests
            self._num_speakers = max(self._num_speakers, int(changes.pop("told_speakers", 0)))
        if changes:
            self._changes.append((number, changes))
            if len(self._changes) > MOST_CHANGES:
                self._changes[:2] = [(0, {**self._changes[0][1], **self._changes[1][1]})]
        self._keep(Sent(self._position, pcm16, commands, end, number if commands else 0))
        self._position += len(pcm16) // 2
        self._mark()
        self._forget()
        return number

    def refused(self, number: int) -> None:
        """The request of this number is not obeyed: its command is answered by nothing, its settings do not hold."""
        self._changes = [change for change in self._changes if change[0] != number]
        left = (replace(sent, parameters={}, number=0) if sent.number == number else sent for sent in self._sent)
        self._sent = deque(sent for sent in left if sent.pcm16 or sent.parameters or sent.end)
        self._forget()

    def again(self) -> list[Sent]:
        """The requests of a stream that goes on where this one was lost; what it says is counted from there."""
        self._forget()
        self._numbers = self._finals
        self._base = self._sent[0].position if self._sent else self._position
        settings = {name: value for _, changes in self._changes for name, value in changes.items()}
        begins_with_sound = bool(self._sent and self._sent[0].pcm16)
        settings["unheard_samples"] = max(0, self._anew - self._base) if begins_with_sound else 0
        settings["told_samples"] = max(0, self._needed - self._base) if begins_with_sound and not self._is_whole else 0
        if self._num_speakers:
            settings["told_speakers"] = self._num_speakers
        return [Sent(self._base, parameters=settings), *self._sent]

    @property
    def at_rest(self) -> bool:
        """Whether another stream could go on from here with nothing said again: no utterance is open, nothing is to
        follow a final, and no command waits for its answer."""
        return not (self._started or self._wordless or self._speakerless or any(one.parameters for one in self._sent))

    def lost_beside(self) -> list[dict[str, Any]]:
        """Of a stream that was lost: the events that were to follow its finals, whose sound is kept no more."""
        wordless, speakerless = sorted(self._wordless), sorted(self._speakerless)
        self._wordless, self._speakerless = set(), set()
        return [
            *({"type": "words", "utterance": one, "words": [], "words_error": WORDS_LOST} for one in wordless),
            *(
                {"type": "speaker", "utterance": one, "speaker": "", "speaker_error": SPEAKER_LOST}
                for one in speakerless
            ),
        ]

    def doubt(self) -> bool:
        """The settings were refused all together, one of them as it was before: leave the newest ones out; false where
        none are left."""
        return bool(self._changes and self._changes.pop())

    def told(self, event: dict[str, Any]) -> dict[str, Any] | None:
        """The event as it is to be told: in the session's time, with nothing said twice; None where it was told."""
        event = self._in_the_sessions_time(event)
        kind, number = event["type"], event.get("utterance", 0)
        self._num_speakers = max(self._num_speakers, num_speakers(event))
        if kind == "speech_started":
            if number in self._started:
                return None
            self._started[number] = event["start_sample"]
        elif kind == "partial":
            return self._going_on(event)
        elif kind == "speech_stopped":
            if number in self._stopped:
                return None
            self._stopped.add(number)
        elif kind == "final" or (kind == "error" and number):
            if event.get("words_follow"):
                self._wordless.add(number)
            if event.get("speaker_follows"):
                self._speakerless.add(number)
            if kind == "final":
                event["revised"] = not event["text"].startswith(self._stable.get(number, ""))
            self._finals = max(self._finals, number)
            resume = event.pop("resume_sample", None)
            self._is_whole = resume is not None
            self._anew = self._anew if resume is None else resume
            self._is_done_before(event["end_sample"])
            self._started.pop(number, None)
            self._stopped.discard(number)
            self._stable.pop(number, None)
        elif kind == "words":
            self._wordless.discard(number)
        elif kind == "speaker":
            self._speakerless.discard(number)
        elif kind in ("flushed", "reset"):
            self._answered("flush" if kind == "flushed" else "reset")
            self._anew, self._is_whole = event["end_sample"], True
            self._is_done_before(event["end_sample"])
            self._finals = max([self._finals, *self._started])
            self._started.clear()
        return event

    def _in_the_sessions_time(self, event: dict[str, Any]) -> dict[str, Any]:
        event = later(event, self._base)
        if event.get("utterance"):
            event["utterance"] += self._numbers
        return event

    def _going_on(self, event: dict[str, Any]) -> dict[str, Any] | None:
        """A partial whose stable text goes on from what was told; None where it hears otherwise so far."""
        told = self._stable.get(event["utterance"], "")
        if not event["text"].startswith(told):
            return None
        if len(event["stable"]) < len(told):
            event["stable"], event["unstable"] = told, event["text"][len(told) :]
        self._stable[event["utterance"]] = event["stable"]
        return event

    def _keep(self, sent: Sent) -> None:
        """As a part of the one before, where both are sound alone."""
        last = self._sent[-1] if self._sent else None
        if last is not None and _is_sound(last) and _is_sound(sent):
            joined = last.pcm16 + sent.pcm16
            if len(joined) <= PIECE_BYTES:
                self._sent[-1] = replace(last, pcm16=joined)
                return
        if sent.pcm16 or sent.parameters or sent.end:
            self._sent.append(sent)

    def _answered(self, command: str) -> None:
        """The first such command was obeyed, and whatever came before it."""
        for index, sent in enumerate(self._sent):
            if sent.parameters.get("command") == command:
                self._sent = deque([*self._sent][index + 1 :])
                return

    def _is_done_before(self, sample: int) -> None:
        self._floor = max(self._floor, sample)
        self._forget()

    def _mark(self) -> None:
        """Note the clock; the first mark is the newest one of SILENCE_S ago, or older."""
        now = self._clock()
        if now - self._marks[-1][0] >= MARK_S:
            self._marks.append((now, self._position))
        while len(self._marks) > 1 and self._marks[1][0] <= now - SILENCE_S:
            self._marks.popleft()

    def _forget(self) -> None:
        open_at = min(self._started.values(), default=None)
        longest = min(LONGEST, max(SILENCE, self._position - self._marks[0][1])) if open_at is None else LONGEST
        self._is_whole = self._is_whole and self._position - self._floor <= longest
        if self._is_whole:
            self._needed = kept = self._floor
        else:
            self._needed = max(self._floor, self._position - longest, open_at or 0)
            kept = self._anew + max(0, (self._needed - LEAD - self._anew) // WINDOW * WINDOW)
        while self._sent and self._is_done_with(self._sent[0], kept):
            self._sent.popleft()
        first = self._sent[0] if self._sent else None
        if first is not None and first.pcm16 and first.position < kept:
            rest = first.pcm16[2 * (kept - first.position) :]
            self._sent[0] = replace(first, position=kept, pcm16=rest)

    def _is_done_with(self, sent: Sent, kept: int) -> bool:
        if sent.pcm16:
            return sent.after <= kept
        # A command behind which something has its final was answered before that, or never will be.
        return not sent.end and sent.position < self._floor


def _is_sound(sent: Sent) -> bool:
    """Whether it is nothing else."""
    return bool(sent.pcm16) and not sent.parameters and not sent.end


def num_speakers(event: Mapping[str, Any]) -> int:
    """How many speakers have letters, as far as an event tells, and no more than `asr_stream` takes for that."""
    named = [event.get("speaker", ""), *(turn["speaker"] for turn in event.get("turns", ()))]
    return min(MOST_TOLD, max(map(_place_of, named)))


def _place_of(letters: str) -> int:
    """1 for A, 26 for Z, 27 for AA, 0 for nobody."""
    place = 0
    for letter in letters:
        place = 26 * place + ord(letter) - ord("A") + 1
    return place
