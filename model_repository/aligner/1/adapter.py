"""Triton adapter of the aligner: clips share passes of the network, live ones first."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils
from numpy.typing import NDArray

from .aligning import Aligner, Clip, Told
from .answers import Answer
from .checkpoint_files import load
from .mending import mended
from .network.embeddings import AudioEmbeddings, checked_audio
from .parameters import MAX_CLIP_ROWS, Parameters
from .places import in_clip
from .room import Room
from .text.prompt import language_name
from .turns import Turns, checked_priority
from .words import split_words
from .written import written

SAMPLES_PER_MS = 16
SAMPLES_PER_FRAME = 160
MAX_FRAMES = 30_000
# Nobody says so much in five minutes.
MAX_CHARACTERS = 20_000


class Adapter(Room["_Alignment"]):
    name = "aligner"

    def __init__(self, parameters: Parameters, folder: Path, args: dict[str, str]) -> None:
        """folder: this version's, where the checkpoint is. args: of the instance, as Triton gives them."""
        self._loaded = load(parameters, folder)
        self._aligner = Aligner(self._loaded.network)
        self._max_rows = parameters.max_rows_per_run
        turns: Turns[_Alignment] = Turns(
            self._advance,
            choose=self._choose,
            num_threads=1,
            max_waiting_bytes=parameters.max_waiting_mb * 2**20,
        )
        super().__init__(turns, args)
        pb_utils.Logger.log_info(
            f"{self.name}: {self._loaded.num_classes} classes of {self._loaded.class_ms:g} ms, "
            f"{str(self._loaded.network.dtype).removeprefix('torch.')} on {self._loaded.network.device}"
        )

    def job(self, request: Any, answer: Answer) -> _Alignment | None:
        width = self._loaded.network.config.hidden_size
        audio = checked_audio(_needed(request, "EMBEDDINGS"), _needed(request, "FRAMES"), width)
        text, named = _text(request, "TEXT"), _text(request, "LANGUAGE", needed=False)
        if len(text) > MAX_CHARACTERS:
            raise ValueError(f"TEXT has {len(text)} characters; {MAX_CHARACTERS} are the most")
        priority = checked_priority(json.loads(request.parameters() or "{}"))
        words = split_words(text, language_name(named) if named else None)
        self._check_length(audio, len(words))
        if not words:
            answer.give(
                WORDS=_texts([]),
                WRITTEN=_texts([]),
                SPANS=np.empty((0, 2), np.int32),
                CONFIDENCE=np.empty(0, np.float32),
            )
            return None
        clip = Clip(self._loaded.prompts.build(words, audio.num_rows), audio.rows)
        if clip.sequence.times.size != 2 * len(words):
            raise ValueError("TEXT has characters that the aligner's tokenizer takes for its own")
        if clip.num_rows > MAX_CLIP_ROWS:
            raise ValueError(f"TEXT and audio make {clip.num_rows} rows; {MAX_CLIP_ROWS} are the most")
        return _Alignment(clip, words, text, sum(audio.frames), _optional(request, "SPEECH"), priority, answer)

    def _check_length(self, audio: AudioEmbeddings, num_words: int) -> None:
        """Raises ValueError where a clip is longer than times are known for, or too short for its words."""
        frames = sum(audio.frames)
        most = min(MAX_FRAMES, int(self._loaded.num_classes * self._loaded.class_ms / 10))
        if frames > most:
            raise ValueError(f"the clip has {frames / 100:g} s of speech; this aligner takes up to {most / 100:g}")
        if num_words > 2 * audio.num_rows:
            # Twelve rows a second.
            raise ValueError(f"TEXT has {num_words} words, more than anybody says in {frames / 100:g} s")

    def _choose(self, waiting: Sequence[_Alignment]) -> list[_Alignment]:
        """As many of those that wait, in their order, as share a pass."""
        chosen = [waiting[0]]
        rows = waiting[0].clip.num_rows
        for one in waiting[1:]:
            rows += one.clip.num_rows
            if rows > self._max_rows:
                break
            chosen.append(one)
        return chosen

    def _advance(self, waiting: list[_Alignment]) -> list[_Alignment]:
        told = self._aligner.tell([one.clip for one in waiting])
        for one, classes in zip(waiting, told, strict=True):
            one.give(classes, self._loaded.class_ms)
        return []


class _Alignment:
    """A job of this room."""

    def __init__(
        self,
        clip: Clip,
        words: list[str],
        text: str,
        num_frames: int,
        speech: NDArray[np.int32] | None,
        priority: int,
        answer: Answer,
    ) -> None:
        self.clip = clip
        self.priority = priority
        self.num_bytes = clip.audio.nbytes
        self._words, self._text = words, text
        self._num_samples = num_frames * SAMPLES_PER_FRAME
        self._speech = speech
        self._answer = answer

    def give(self, told: Told, class_ms: float) -> None:
        times = np.array(mended((told.classes * class_ms).tolist()), dtype=np.int64) * SAMPLES_PER_MS
        spans = in_clip(times[::2], times[1::2], self._speech, self._num_samples)
        confidence = np.sqrt(told.probabilities[::2] * told.probabilities[1::2])
        words, as_written = _texts(self._words), _texts(written(self._text, self._words))
        self._answer.give(WORDS=words, WRITTEN=as_written, SPANS=spans, CONFIDENCE=confidence)

    def is_cancelled(self) -> bool:
        return self._answer.is_cancelled()

    def fail(self, message: str) -> None:
        self._answer.fail(f"aligner failed: {message}")


def _texts(texts: list[str]) -> NDArray[np.object_]:
    return np.array([text.encode() for text in texts], dtype=np.object_)


def _optional(request: Any, name: str) -> Any:
    tensor = pb_utils.get_input_tensor_by_name(request, name)
    return None if tensor is None else tensor.as_numpy()


def _needed(request: Any, name: str) -> Any:
    value = _optional(request, name)
    if value is None:
        raise ValueError(f"{name} is missing")
    return value


def _text(request: Any, name: str, *, needed: bool = True) -> str:
    value = _needed(request, name) if needed else _optional(request, name)
    if value is None or not value.size:
        return ""
    try:
        return str(value.ravel()[0].decode("utf-8"))
    except UnicodeDecodeError as error:
        raise ValueError(f"{name} is not UTF-8: {error}") from error
