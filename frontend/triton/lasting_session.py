"""A live session that outlasts its server: where that is lost, another stream goes on from the last final."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

from frontend.guard.ahead import Ahead
from frontend.observe.delays import Delays
from frontend.triton.balancer import LIVE
from frontend.triton.client import TritonClient, TritonUnavailable
from frontend.triton.journal import Journal
from frontend.triton.live_session import LiveSession

logger = logging.getLogger(__name__)

RETRY_FIRST_S, RETRY_MOST_S = 0.2, 1.0
# A model is back within seconds, a server that has to be started anew within some more.
PATIENCE_S = 60.0
# A session that is lost so often without a word may be what its server dies of.
MOST_RESUMES = 5
# What `asr_stream` says of samples that it does not take because too many wait, and how often that is borne. Whoever
# had a minute without a loss has begun anew.
TOO_MANY_WAIT = "of audio wait to be heard"
MOST_REFUSALS = 3
WELL_AFTER_S = 60.0
# What was said while it was lost is heard by then.
CAUGHT_UP_S = 10.0

BYTES_PER_S = 2 * 16_000
# Sound waits no longer for what is due later.
MOST_GATHERED_S = 1.0
# Events behind which nothing is said of an utterance any more.
ENDS = ("speech_stopped", "final", "flushed", "reset")


class LastingSession:
    """`send` never waits; `events` ends with `closed`. Leave it by `close`, whatever happened.

    Where Triton or a model of it is lost, the client hears nothing for a while, then an event `resumed`: each utterance
    still gets exactly one final, times and numbers go on, stable text stays.
    """

    def __init__(
        self,
        client: TritonClient,
        request_id: str,
        connected: Callable[[], Awaitable[TritonClient]] | None = None,
        gather_s: float = 0.0,
        heard: Callable[[str, float], None] | None = None,
    ) -> None:
        """connected: the connection there is, asked again where this one is lost; without it nothing is resumed.
        gather_s: how long sound may wait for more of it, and longer while the server has told with which sample there
        may be more to say; 0: each `send` is a request. heard: told of each partial and final, `first_partial` too, and
        the seconds since the sound that it covers had come.
        """
        self._request_id = request_id
        self._connected = connected
        self._gather_s = gather_s
        # Sound that waits for more, in order; when other sound went on its way last, and how much in all.
        self._waiting: list[bytes] = []
        self._num_waiting, self._waiting_since = 0, 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._passed_at = -math.inf
        self._num_passed = 0
        # Up to here there is nothing to say, as the server told; and how much was passed on before the newest command,
        # which what is said of sound before it knows nothing of.
        self._num_due = self._num_commanded = 0
        self._heard = heard
        self._delays = Delays(self._observed) if heard is not None else None
        self._journal = Journal()
        self._client = client
        self._resumed_at = -math.inf
        self._stream: LiveSession | None = LiveSession(client, request_id, self._is_at_rest)
        self._ended = False
        # When sound came last, as time.monotonic has it.
        self.sound_at = time.monotonic()
        self._ahead = Ahead()

    @property
    def ended(self) -> bool:
        """Whether the end was sent."""
        return self._ended

    def send(
        self,
        pcm16: bytes = b"",
        parameters: Mapping[str, Any] | None = None,
        *,
        end: bool = False,
        tell_heard: bool = False,
    ) -> None:
        """Queue samples (int16 little-endian, 16 kHz mono), and settings or a command; nothing after the end. Samples
        alone wait for more; whatever else comes goes at once, with those behind it.

        tell_heard: an event `heard` comes when this and all before it was heard, unless more is sent before; after
        `resumed` it does not come any more.
        """
        if self._ended:
            return
        self._ended = end
        if pcm16:
            self.sound_at = time.monotonic()
            self._ahead.sent(len(pcm16) / BYTES_PER_S)
            if self._delays is not None:
                self._delays.arrived(len(pcm16) // 2, self.sound_at)
            if not (parameters or end or tell_heard):
                self._gather(pcm16)
                return
        self._pass_on()
        if parameters:
            # Other settings may want something sooner.
            self._num_due, self._num_commanded = 0, self._num_passed
        self._request(pcm16, parameters or {}, end=end, tell_heard=tell_heard)

    def _gather(self, pcm16: bytes) -> None:
        """Send it with what comes next. What comes after a pause goes at once, as does what is due, or else as much as
        is spoken in the time that it may wait; and nothing waits longer, whether more comes or not."""
        if not self._waiting:
            self._waiting_since = self.sound_at
        self._waiting.append(pcm16)
        self._num_waiting += len(pcm16)
        after_pause = not self._due_s and self.sound_at - self._passed_at >= self._gather_s
        if after_pause or self._num_waiting >= (self._due_s or self._gather_s) * BYTES_PER_S:
            self._pass_on()
        elif self._timer is None:
            self._wait()

    def _wait(self) -> None:
        """Pass on what waits, in time. For what is due there is some more: sound may come a little late."""
        wait_s = min(self._due_s + self._gather_s, MOST_GATHERED_S) if self._due_s else self._gather_s
        left_s = self._waiting_since + wait_s - time.monotonic()
        self._timer = asyncio.get_running_loop().call_later(max(0.0, left_s), self._pass_on)

    @property
    def _due_s(self) -> float:
        """How much sound there is nothing to say of, behind what was passed on; 0 where that is not known."""
        due_s = (self._num_due - self._num_passed) / BYTES_PER_S
        return min(due_s, MOST_GATHERED_S) if self._gather_s and due_s > 0 else 0.0

    def _learn(self, event: dict[str, Any]) -> None:
        """Take out of an event up to which sample there is nothing to say, and hold to it."""
        due = event.pop("due_sample", None)
        if due is None:
            if event["type"] in ENDS:
                self._num_due = 0
            return
        if 2 * event.get("end_sample", event["start_sample"]) <= self._num_commanded:
            return
        self._num_due = 2 * due
        if self._timer is not None and self._num_waiting >= self._due_s * BYTES_PER_S:
            self._pass_on()
        elif self._timer is not None:
            self._timer.cancel()
            self._wait()

    def _pass_on(self) -> None:
        """What waits is waited for no longer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._waiting:
            pcm16 = self._waiting[0] if len(self._waiting) == 1 else b"".join(self._waiting)
            self._waiting.clear()
            self._num_waiting = 0
            self._passed_at = time.monotonic()
            self._request(pcm16, {}, end=False, tell_heard=False)

    def _request(self, pcm16: bytes, parameters: Mapping[str, Any], *, end: bool, tell_heard: bool) -> None:
        self._num_passed += len(pcm16)
        number = self._journal.note(pcm16, parameters, end=end)
        if self._stream is not None:
            self._stream.send(pcm16, parameters, end=end, tell_heard=tell_heard, number=number)

    def has_room(self, ahead_s: float) -> bool:
        """Whether `room` would return at once."""
        return (self._stream is None or self._stream.has_room) and self._ahead.seconds <= ahead_s

    async def room(self, ahead_s: float) -> None:
        """Return when the next message of the client may be taken: Triton has room, and the client is no more than
        ahead_s of sound ahead of the clock. Whoever waits here reads nothing more, so that the client has to wait."""
        if self._stream is not None:
            await self._stream.room()
        await self._ahead.wait(ahead_s)

    async def events(self) -> AsyncIterator[dict[str, Any]]:
        """What the session says. A refused request is an event `error`; of the first one, a fatal one, and the last.

        Raises TritonUnavailable where Triton is lost and does not come back.
        """
        opened, fresh, wordless, refusals = False, False, 0, 0
        lost_at, pause_s = 0.0, RETRY_FIRST_S
        while True:
            try:
                assert self._stream is not None
                async for event in self._stream.events():
                    if event["type"] == "closed" and event.get("reason") == "cancelled" and self._connected:
                        raise TritonUnavailable("the model was unloaded")
                    if event["type"] == "error" and self._connected:
                        if _is_of_samples(event):
                            # They are missing from here on: what is sent again has them, and keeps their time.
                            refusals += 1
                            raise TritonUnavailable(event["message"])
                        if (
                            fresh
                            and opened
                            and (event.get("code") == "busy" or (_is_of_settings(event) and self._journal.doubt()))
                        ):
                            raise TritonUnavailable(event["message"])
                    if event["type"] == "opened":
                        lost_at, pause_s = 0.0, RETRY_FIRST_S
                    if event["type"] == "opened" and opened:
                        wordless, self._resumed_at = wordless + 1, time.monotonic()
                        event = {"type": "resumed"}
                    elif event["type"] in ("partial", "final"):
                        fresh, wordless = False, 0
                    opened = True
                    if number := event.pop("number", 0):
                        self._journal.refused(number)
                    told = self._journal.told(event)
                    if told is not None:
                        self._learn(told)
                        if self._delays is not None:
                            self._delays.told(told, time.monotonic())
                        yield told
                    if event["type"] == "resumed":
                        for lost in self._journal.lost_beside():
                            yield lost
                    if event["type"] == "closed" or (event["type"] == "error" and event.get("fatal")):
                        return
                raise TritonUnavailable("the live stream ended")
            except TritonUnavailable as error:
                now = time.monotonic()
                if not lost_at and now - self._resumed_at > WELL_AFTER_S:
                    wordless, refusals = 0, min(refusals, 1)
                lost_at = lost_at or now
                impatient = now - lost_at > PATIENCE_S or wordless > MOST_RESUMES or refusals > MOST_REFUSALS
                if self._connected is None or impatient or (not opened and await self._is_alone()):
                    raise
                logger.warning("live session %s is lost and goes on elsewhere: %s", self._request_id, error)
                await self._abandon()
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, RETRY_MOST_S)
            await self._go_on(await self._connected())
            fresh = True

    async def close(self) -> None:
        """End the stream; what Triton still does for it is cancelled."""
        self._ended = True
        if self._timer is not None:
            self._timer.cancel()
        if self._stream is not None:
            await self._stream.close()

    async def _is_alone(self) -> bool:
        """Whether there is no other server than the one that was lost before it said a word."""
        assert self._connected is not None
        return await self._connected() is self._client

    def _is_at_rest(self) -> bool:
        return self._journal.at_rest

    def _observed(self, kind: str, seconds: float) -> None:
        assert self._heard is not None
        self._heard(kind, seconds)
        now = time.monotonic()
        # What waited for another server is not late by that server's fault.
        if kind == "partial" and now - self._resumed_at > CAUGHT_UP_S:
            self._client.standing.answered(LIVE, seconds, now)

    async def _abandon(self) -> None:
        stream, self._stream = self._stream, None
        self._num_due = 0
        if stream is not None:
            await stream.close()

    async def _go_on(self, client: TritonClient) -> None:
        """Nothing waits between the journal's requests and the next one of the client."""
        self._client = client
        stream = LiveSession(client, self._request_id, self._is_at_rest)
        for sent in self._journal.again():
            stream.send(sent.pcm16, sent.parameters, end=sent.end, number=sent.number)
        self._stream = stream


def _is_of_samples(event: dict[str, Any]) -> bool:
    """Whether it says that samples were not taken."""
    return event.get("code") == "invalid" and not event.get("utterance") and TOO_MANY_WAIT in event["message"]


def _is_of_settings(event: dict[str, Any]) -> bool:
    """Whether it is the answer to a stream's first request, of which settings alone can be wrong."""
    return event.get("code") == "invalid" and bool(event.get("fatal"))
