"""Answers on their way out: tokens become text, text becomes responses, on a thread of their own.

A response waits for Triton to take it; the engine's thread must not. What has come in meanwhile goes out together.
"""

from __future__ import annotations

import heapq
import itertools
import json
import logging
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from ..engine.sequence import Sequence
from ..text.prompt import Transcript
from ..text.token_bytes import TokenBytes

logger = logging.getLogger(__name__)

CANCEL_POLL_S = 0.05


@dataclass(frozen=True)
class Delta:
    """One response: what it adds, and on the last one the result as json. tokens: the bytes of each token, none where
    it is no text."""

    text: str
    token_ids: list[int]
    tokens: list[bytes]
    logprobs: list[float]
    final: bool
    result: str


class Sink(Protocol):
    """Where the responses of one request go. Closed by the final one, by a failure, or by giving up."""

    closed: bool

    def send(self, delta: Delta) -> None: ...

    def fail(self, message: str) -> None: ...

    def is_cancelled(self) -> bool: ...


class Answer:
    """The listener of one sequence: collects what the engine says until the outbox sends it."""

    def __init__(
        self,
        sink: Sink,
        transcript: Transcript,
        token_bytes: TokenBytes,
        audio: dict[str, Any],
        post: Callable[[Answer], None],
        *,
        deltas: bool = True,
    ) -> None:
        """deltas: whether text goes out as it comes, or all of it with the end."""
        self._sink = sink
        self._deltas = deltas
        self._transcript = transcript
        self._token_bytes = token_bytes
        self._audio = audio
        self._post = post
        self._lock = threading.Lock()
        self._ids: list[int] = []
        self._logprobs: list[float] = []
        self._unsent: tuple[list[int], list[float]] = ([], [])
        self._num_sent = 0
        self._sequence: Sequence | None = None
        self._error: str | None = None
        self._posted = False
        self._cancelled = False
        self.last_sent = 0.0

    def on_tokens(self, ids: list[int], logprobs: list[float]) -> None:
        with self._lock:
            self._ids += ids
            self._logprobs += logprobs
        if self._deltas:
            self._wake()

    def on_finish(self, sequence: Sequence) -> None:
        with self._lock:
            self._sequence = sequence
        self._post(self)

    def on_error(self, message: str) -> None:
        with self._lock:
            self._error = message
        self._post(self)

    def is_cancelled(self) -> bool:
        return self._cancelled

    @property
    def closed(self) -> bool:
        return self._sink.closed

    @property
    def ended(self) -> bool:
        """Whether nothing more will be said."""
        return self._sequence is not None or self._error is not None

    def poll_cancelled(self) -> None:
        """Ask Triton whether the client has left; the engine sees it at its next step."""
        self._cancelled = self._cancelled or self._sink.is_cancelled()

    def abandon(self) -> None:
        """Give the answer up: nobody takes it."""
        self._sink.closed = self._cancelled = True

    def flush(self) -> None:
        """Send what has been collected."""
        with self._lock:
            ids, self._ids = self._ids, []
            logprobs, self._logprobs = self._logprobs, []
            sequence, error, self._posted = self._sequence, self._error, False
        if self.closed or not (ids or self.ended):
            return
        if error is not None:
            self._sink.fail(error)
            return
        text = self._transcript.add(ids)
        ids, logprobs = self._unsent[0] + ids, self._unsent[1] + logprobs
        self._unsent = ([], [])
        if sequence is not None:
            text += self._transcript.finish()
            # The sequence knows this listener: without the way back, its audio is freed now.
            self._sequence = None
            self._sink.send(Delta(text, ids, self._tokens(ids), logprobs, final=True, result=self._result(sequence)))
        elif text:
            self._sink.send(Delta(text, ids, self._tokens(ids), logprobs, final=False, result=""))
            self.last_sent = time.monotonic()
        else:
            # Tokens of the language header or of an unfinished character go out with the text that follows.
            self._unsent = (ids, logprobs)

    def _tokens(self, ids: list[int]) -> list[bytes]:
        """The bytes of the tokens that are sent next."""
        start, self._num_sent = self._num_sent, self._num_sent + len(ids)
        first = self._transcript.first_of_text
        return [self._token_bytes(token) if place >= first else b"" for place, token in enumerate(ids, start)]

    def _wake(self) -> None:
        with self._lock:
            if self._posted:
                return
            self._posted = True
        self._post(self)

    def _result(self, sequence: Sequence) -> str:
        return result_json(
            text=self._transcript.text,
            language=self._transcript.language,
            finish_reason=sequence.finish_reason,
            prompt_tokens=len(sequence.prompt),
            completion_tokens=len(sequence.output_ids),
            audio=self._audio,
            timings_ms=sequence.timings.as_ms(),
            draft={"tokens": sequence.num_drafted, "accepted": sequence.num_accepted},
            hotwords=None if (own := sequence.biasing) is None else (own.num_kept, own.num_given_back),
        )


def result_json(
    text: str,
    language: str | None,
    finish_reason: str,
    prompt_tokens: int,
    completion_tokens: int,
    audio: dict[str, Any],
    timings_ms: dict[str, float],
    draft: dict[str, int] | None = None,
    engine: dict[str, Any] | None = None,
    hotwords: tuple[int, int] | None = None,
) -> str:
    """RESULT of a finished answer. audio: audio_tokens and speech_seconds; engine: added where it is asked for;
    hotwords: phrases that were written in place of what was likelier, and those that were tried and given back."""
    usage = {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
        **audio,
    }
    result = {
        "text": text,
        "language": language,
        "finish_reason": finish_reason,
        "usage": usage,
        "timings_ms": timings_ms,
        "draft": draft or {"tokens": 0, "accepted": 0},
        **({"engine": engine} if engine else {}),
        **({"hotwords": dict(zip(("kept", "given_back"), hotwords, strict=True))} if hotwords else {}),
    }
    return json.dumps(result, ensure_ascii=False)


class Outbox:
    """The thread that sends, and that asks whether clients have left."""

    def __init__(self, interval_s: float = 0.0) -> None:
        """interval_s: what comes sooner after an answer's last response waits, and goes out in one."""
        self._interval_s = interval_s
        self._posts: queue.SimpleQueue[Answer | None] = queue.SimpleQueue()
        self._open: set[Answer] = set()
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=self._send_loop, name="decoder-outbox", daemon=True),
            threading.Thread(target=self._cancel_loop, name="decoder-cancel", daemon=True),
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self, timeout_s: float = 5.0) -> None:
        """Send what is posted, then end."""
        self._stopping.set()
        self._posts.put(None)
        for thread in self._threads:
            thread.join(timeout_s)

    def post(self, answer: Answer) -> None:
        self._posts.put(answer)

    def watch(self, answer: Answer) -> None:
        """Ask from time to time whether this answer's client has left."""
        with self._lock:
            self._open.add(answer)

    def _send_loop(self) -> None:
        late: list[tuple[float, int, Answer]] = []
        for number in itertools.count():
            try:
                answer = self._posts.get(timeout=max(0.0, late[0][0] - time.monotonic()) if late else None)
            except queue.Empty:
                self._flush(heapq.heappop(late)[2])
                continue
            if answer is None:
                break
            due = answer.last_sent + self._interval_s
            if answer.ended or due <= time.monotonic():
                self._flush(answer)
            else:
                heapq.heappush(late, (due, number, answer))
        for _, _, answer in late:
            self._flush(answer)

    def _flush(self, answer: Answer) -> None:
        try:
            answer.flush()
        except Exception:
            # The client or the server is gone; the engine need not go on for them.
            logger.exception("a response could not be sent")
            answer.abandon()

    def _cancel_loop(self) -> None:
        while not self._stopping.wait(CANCEL_POLL_S):
            with self._lock:
                self._open = {answer for answer in self._open if not answer.closed}
                answers = list(self._open)
            for answer in answers:
                answer.poll_cancelled()
