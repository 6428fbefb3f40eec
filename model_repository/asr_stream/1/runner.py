"""All sessions of this server, on one event loop in a thread of its own."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from . import events
from .listening import Detector
from .metrics import Counts
from .parameters import Parameters
from .rooms import Floats
from .session import Session
from .settings import SAMPLE_RATE_HZ, Overlap, Settings
from .triton_rooms import TritonRooms

logger = logging.getLogger(__name__)

# How often clients are looked for that have left without a word.
VANISHED_POLL_S = 0.5
# Events of a session that has no open request yet, or whose client takes none.
MAX_UNSENT = 1_000


class Responder(Protocol):
    """Where a request's responses go."""

    def send(self, event: str) -> None: ...

    def close(self, event: str | None = None) -> None:
        """End the request, with a last event or without."""

    def is_cancelled(self) -> bool: ...


@dataclass
class _Line:
    """A session and the newest of its requests, by which it speaks."""

    session: Session
    canary: bool = False
    task: asyncio.Task[None] | None = None
    responder: Responder | None = None
    unsent: list[str] = field(default_factory=list)

    def speak(self, event: dict[str, Any]) -> None:
        text = json.dumps(event, ensure_ascii=False)
        if self.responder is None:
            self.unsent = [*self.unsent[-MAX_UNSENT:], text]
        elif event["type"] == "closed":
            self.responder.close(text)
            self.responder = None
        else:
            self.responder.send(text)

    def listen(self, responder: Responder) -> None:
        """Speak by this request from now on; the one before has ended."""
        if self.responder is not None:
            self.responder.close()
        self.responder = responder
        unsent, self.unsent = self.unsent, []
        for text in unsent:
            responder.send(text)

    def leave(self, responder: Responder) -> None:
        """End this request, where it is still the one to speak by; what is said next waits for another."""
        if self.responder is responder:
            self.responder = None
            responder.close()


@dataclass(frozen=True)
class Asked:
    """A request of a sequence. settings: makes the session's settings into those that it asks for, or raises
    ValueError; hold: it is answered until the next one comes, otherwise until its audio is heard; canary: its session
    is not counted; overlap: how its session begins, where it goes on from another one; refuse: called where it is
    refused, and the session goes on."""

    sequence: int
    start: bool
    end: bool
    pcm: Floats | None
    settings: Callable[[Settings], Settings]
    command: str
    hold: bool
    canary: bool
    overlap: Overlap
    responder: Responder
    refuse: Callable[[Refused], None]


class Refused(Exception):
    """A request that is answered with an error; `invalid` where it is at fault itself."""

    def __init__(self, message: str, *, invalid: bool = True) -> None:
        super().__init__(message)
        self.invalid = invalid


class Runner:
    """`accept` from any thread, in the order of the requests; everything else happens on the loop."""

    def __init__(
        self,
        url: str,
        parameters: Parameters,
        detector: Detector,
        most: int,
        publish: Callable[[Counts, int], None],
        *,
        can_align: bool = False,
        has_voices: bool = False,
    ) -> None:
        """url: of the server's gRPC. detector: of speech. most: sessions at a time. publish: called with counts,
        twice a second. can_align: whether there is an aligner; has_voices: whether a room tells speakers apart."""
        self._beside = {"can_align": can_align, "has_voices": has_voices}
        self._publish = publish
        self._counts = Counts()
        self._url = url
        self._parameters = parameters
        self._detector = detector
        self._most = most
        # The decoder knows sessions and requests of all instances, and of those before them.
        self._name = f"{parameters.decoder}-{uuid.uuid4().hex[:12]}"
        self._lines: dict[int, _Line] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self._number = 0
        self._rooms: TritonRooms | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run_loop, name="asr-stream", daemon=True)

    def start(self) -> None:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._open(), self._loop).result(10)

    def stop(self, timeout_s: float = 5.0) -> None:
        """End all sessions as they are: the server waits for requests under way before it asks for this."""
        with contextlib.suppress(Exception):
            asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(timeout_s)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout_s)

    def accept(self, asked: Asked) -> None:
        """Hand a request over."""

        def take() -> None:
            try:
                self._take(asked)
            except (Refused, ValueError) as error:
                asked.refuse(error if isinstance(error, Refused) else Refused(str(error)))
            except Exception as error:
                logger.exception("a request failed")
                asked.refuse(Refused(f"asr_stream failed: {error}", invalid=False))

        self._loop.call_soon_threadsafe(take)

    def _take(self, asked: Asked) -> None:
        line = self._begin(asked) if asked.start else self._lines.get(asked.sequence)
        if line is None or (line.session.ended and not asked.start):
            # Of a sequence that Triton does not know either it says so itself, before this room sees it.
            asked.responder.close(json.dumps(events.unknown()))
            return
        session = line.session
        changes = not asked.start and asked.settings(session.settings) is not session.settings
        if asked.pcm is not None:
            session.push(asked.pcm)
            self._counts.audio_seconds += 0 if line.canary else asked.pcm.size / SAMPLE_RATE_HZ
        # Where a command is refused, the session goes on speaking by the request before.
        if changes:
            session.command("settings", asked.settings)
        if asked.command:
            session.command(asked.command)
        if asked.end:
            session.command("end")
        line.listen(asked.responder)
        if not asked.end and not asked.hold:
            session.when_heard(lambda: line.leave(asked.responder))

    def _begin(self, asked: Asked) -> _Line:
        sequence, canary = asked.sequence, asked.canary
        wanted = asked.settings(Settings())
        before = self._lines.pop(sequence, None)
        if before is not None and before.task is not None:
            # A client that begins anew has given up what it had.
            before.task.cancel()
        if len(self._lines) >= self._most:
            held = self._parameters.max_sessions
            raise Refused(f"this server holds {held} live sessions: try again later", invalid=False)
        assert self._rooms is not None
        self._number += 1
        self._counts.sessions_begun += not canary
        line: _Line

        def speak(event: dict[str, Any]) -> None:
            kind = "" if canary else event["type"]
            self._counts.utterances += kind == "final"
            self._counts.partials += kind == "partial"
            self._counts.errors += kind == "error"
            line.speak(event)

        name = f"{self._name}-{self._number}"
        session = Session(name, self._rooms, self._detector, wanted, speak, self._parameters, asked.overlap)
        line = _Line(session, canary)
        # Whoever hears this knows that later refusals are not of the session itself.
        speak({"type": "opened", **({"sessions": self._num_sessions_of_all()} if canary else {})})
        line.task = self._loop.create_task(line.session.run())
        line.task.add_done_callback(lambda _: self._forget(sequence, line))
        self._closing.add(line.task)
        line.task.add_done_callback(self._closing.discard)
        self._lines[sequence] = line
        return line

    def _num_sessions_of_all(self) -> int:
        """Of users, in all instances, about: Triton gives each as many."""
        own = sum(not line.canary for line in self._lines.values())
        return round(own * self._parameters.max_sessions / self._most)

    def _forget(self, sequence: int, line: _Line) -> None:
        if self._lines.get(sequence) is line:
            del self._lines[sequence]
        if line.responder is not None:
            line.responder.close()
            line.responder = None
        # It speaks by its line, which has it: by themselves both would stay, with the sound of an utterance, until
        # Python looks for such circles.
        del line.session
        line.task = None

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(VANISHED_POLL_S)
            for line in list(self._lines.values()):
                if line.responder is not None and line.responder.is_cancelled() and line.task is not None:
                    line.task.cancel()
            try:
                sessions = sum(not line.canary for line in self._lines.values())
                await self._loop.run_in_executor(None, self._publish, self._counts, sessions)
            except Exception:
                logger.exception("metrics could not be published")

    async def _open(self) -> None:
        self._rooms = TritonRooms(self._url, self._parameters, self._name, **self._beside)
        self._watcher = self._loop.create_task(self._watch())

    async def _close(self) -> None:
        self._watcher.cancel()
        for task in list(self._closing):
            task.cancel()
        if self._closing:
            await asyncio.wait(self._closing, timeout=3.0)
        if self._rooms is not None:
            await self._rooms.close()

    def _run_loop(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()
