"""Triton adapter of the room that tells speakers apart: windows of all share runs of the network, live ones first."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils
from numpy.typing import NDArray

from .answers import Answer
from .clustering import MOST_SPEAKERS, Limits
from .conversation import Conversation
from .encoder import SpeakerEncoder
from .parameters import Parameters
from .room import Room
from .spans import speech_spans
from .stretch import HeardTurn, turns_of
from .turns import Turns, checked_priority

Floats = NDArray[np.float32]
SAMPLE_RATE_HZ = 16_000
# A longer stretch is sent in parts, with STATE.
MAX_SAMPLES = 512 * SAMPLE_RATE_HZ
# Nobody says more words in a second, and they do not lie upon each other more than two people's do.
SPANS_PER_S, SPANS_BESIDE, MOST_SHARED = 10, 100, 2


class Adapter(Room["Stretch"]):
    name = "speakers"

    def __init__(self, parameters: Parameters, folder: Path, args: dict[str, str]) -> None:
        """folder: this version's. args: of the instance, as Triton gives them."""
        self.parameters = parameters
        self._encoder = SpeakerEncoder(folder / "checkpoint")
        turns: Turns[Stretch] = Turns(
            self._advance,
            choose=self._choose,
            num_threads=parameters.threads,
            max_waiting_bytes=parameters.max_waiting_mb * 2**20,
        )
        super().__init__(turns, args)
        pb_utils.Logger.log_info(f"{self.name}: {self._encoder.record.name}, voices of {self._encoder.width} numbers")

    def job(self, request: Any, answer: Answer) -> Stretch | None:
        parameters = json.loads(request.parameters() or "{}")
        priority, limits = checked_priority(parameters), _limits(parameters)
        pcm = _checked_pcm(_optional(request, "PCM"))
        state = _optional(request, "STATE")
        width = self._encoder.width
        talk = Conversation(width) if state is None else Conversation.from_bytes(state.tobytes(), width)
        is_known, divided = (_flag(parameters, name) for name in ("known", "spans_are_turns"))
        spans = self._spans(request, pcm)
        if not len(spans):
            if is_known:
                raise ValueError("PCM holds no speech to know somebody by")
            answer.give(**_answered(talk, spans, []))
            return None
        return Stretch(self._encoder, pcm, spans, talk, limits, priority, answer, is_known=is_known, divided=divided)

    def _spans(self, request: Any, pcm: Floats) -> NDArray[np.int32]:
        spans, judged = _optional(request, "SPANS"), _optional(request, "SPEECH_PROB")
        if spans is not None:
            return _checked_spans(spans, pcm.size)
        if judged is None:
            return np.array([[0, pcm.size]], dtype=np.int32)
        if not np.isfinite(judged).all() or not judged.size * 512 <= pcm.size + 512:
            raise ValueError("SPEECH_PROB is not what vad says of PCM")
        return speech_spans(judged, pcm.size, self.parameters)

    def _choose(self, waiting: Sequence[Stretch]) -> list[Stretch]:
        """Those whose windows fit into one run, the first one whatever it has; alone, one whose features are to be
        computed."""
        chosen, windows = [waiting[0]], waiting[0].num_windows
        if not waiting[0].begun:
            return chosen
        for one in waiting[1:]:
            windows += one.num_windows
            if not one.begun or windows > self.parameters.max_windows_per_run:
                break
            chosen.append(one)
        return chosen

    def _advance(self, jobs: list[Stretch]) -> list[Stretch]:
        if not jobs[0].begun:
            jobs[0].begin()
            return jobs
        most = self.parameters.max_windows_per_run
        taken = [job.take(max(1, most // len(jobs)) if len(jobs) > 1 else most) for job in jobs]
        voices = self._encoder.embed(np.concatenate(taken))
        ends = np.cumsum([len(one) for one in taken])[:-1]
        unfinished = []
        for job, mine in zip(jobs, np.split(voices, ends), strict=True):
            try:
                if job.heard(mine):
                    unfinished.append(job)
            except Exception as error:
                # Its own fault: the others of this run have their voices.
                pb_utils.Logger.log_error(f"{self.name} failed: {error!r}")
                job.fail(str(error) or repr(error))
        return unfinished


class Stretch:
    """A job of this room: speech becomes windows, windows voices, voices turns, and turns speakers."""

    def __init__(
        self,
        encoder: SpeakerEncoder,
        pcm: Floats,
        spans: NDArray[np.int32],
        talk: Conversation,
        limits: Limits,
        priority: int,
        answer: Answer,
        *,
        is_known: bool,
        divided: bool,
    ) -> None:
        self.priority = priority
        self._record = encoder.record
        self._spans, self._talk, self._limits, self._is_known = spans, talk, limits, is_known
        self._answer = answer
        self._asking = turns_of(pcm, spans, encoder.record, divided=divided)
        self._windows = np.empty((0, 0, 0), dtype=np.float32)
        self._voices: list[Floats] = []
        self.begun = False
        # Features are somewhat less than the sound.
        self.num_bytes = 2 * pcm.nbytes

    def begin(self) -> None:
        """Compute its features, and which windows of them are asked for first."""
        self._windows, self.begun = next(self._asking), True

    @property
    def num_windows(self) -> int:
        """That wait to be embedded."""
        return len(self._windows)

    def take(self, most: int) -> Floats:
        """The next windows; the same again until their voices are there."""
        return self._windows[:most]

    def heard(self, voices: Floats) -> bool:
        """Their voices; whether there are more windows. Answers where there are none."""
        self._voices.append(voices)
        self._windows = self._windows[len(voices) :]
        if len(self._windows):
            return True
        told, self._voices = np.concatenate(self._voices), []
        try:
            self._windows = self._asking.send(told)
            return True
        except StopIteration as stopped:
            self._finish(stopped.value)
            return False

    def is_cancelled(self) -> bool:
        return self._answer.is_cancelled()

    def fail(self, message: str) -> None:
        self._answer.fail(f"speakers failed: {message}")

    def _finish(self, turns: list[HeardTurn]) -> None:
        if self._is_known:
            mean = sum(turn.voice * turn.seconds for turn in turns)
            try:
                self._talk.know(np.asarray(mean / max(1e-9, float(np.linalg.norm(mean))), dtype=np.float32))
            except ValueError as error:
                self._answer.refuse(str(error))
                return
            turns = []
        else:
            self._talk.add(turns, self._limits, self._record)
        self._answer.give(**_answered(self._talk, self._spans, turns))


def _answered(talk: Conversation, spans: NDArray[np.int32], turns: list[HeardTurn]) -> dict[str, Any]:
    first = talk.next_turn - len(turns)
    of_span = np.array(
        [first + number for number, turn in enumerate(turns) for _ in range(turn.first, turn.last + 1)], dtype=np.int32
    )
    places = [[spans[turn.first, 0], spans[turn.last, 1]] for turn in turns]
    return {
        "TURNS": np.array(places, dtype=np.int32).reshape(-1, 2),
        "TURN_OF_SPAN": of_span,
        "SPEAKERS": talk.speakers(),
        "STATE": talk.to_bytes(),
    }


def _limits(parameters: dict[str, Any]) -> Limits:
    found = []
    for name in ("min_speakers", "max_speakers"):
        value = parameters.get(name, 0)
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MOST_SPEAKERS:
            raise ValueError(f"{name} must be a number from 1 to {MOST_SPEAKERS}, not {str(value)[:40]!r}")
        found.append(value)
    if 0 < found[1] < found[0]:
        raise ValueError(f"min_speakers is {found[0]}, more than max_speakers, {found[1]}")
    return Limits(*found)


def _flag(parameters: dict[str, Any], name: str) -> bool:
    value = parameters.get(name, False)
    if str(value).lower() not in ("true", "false", "1", "0"):
        raise ValueError(f"{name} must be true or false, not {str(value)[:40]!r}")
    return str(value).lower() in ("true", "1")


def _optional(request: Any, name: str) -> Any:
    tensor = pb_utils.get_input_tensor_by_name(request, name)
    return None if tensor is None else tensor.as_numpy()


def _checked_pcm(pcm: Any) -> Floats:
    if pcm is None:
        raise ValueError("PCM is missing")
    if not 0 < pcm.size <= MAX_SAMPLES:
        raise ValueError(f"PCM has {pcm.size} samples; 1 to {MAX_SAMPLES} can be heard at once")
    if not np.isfinite(pcm).all() or np.abs(pcm).max() > 1e3:
        raise ValueError("PCM holds NaN, infinity, or what is no sound")
    return np.asarray(pcm, dtype=np.float32)


def _checked_spans(spans: Any, samples: int) -> NDArray[np.int32]:
    most = SPANS_BESIDE + SPANS_PER_S * samples // SAMPLE_RATE_HZ
    if len(spans) > most:
        raise ValueError(f"SPANS are {len(spans)}; in so much sound {most} are the most")
    starts, ends = spans[:, 0].astype(np.int64), spans[:, 1].astype(np.int64)
    if len(spans) and not (starts.min() >= 0 and ends.max() <= samples and (ends >= starts).all()):
        raise ValueError("SPANS lie outside of PCM, or end before they begin")
    if (np.diff(starts) < 0).any():
        raise ValueError("SPANS are not in order")
    if (ends - starts).sum() > MOST_SHARED * samples:
        raise ValueError("SPANS lie upon each other")
    return np.asarray(spans, dtype=np.int32)
