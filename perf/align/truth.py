"""Times that the server tells, beside transformers' on the same checkpoint and beside where the words really lie."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm
from transformers import AutoProcessor, Qwen3ASRForTokenClassification

from export.rooms import MODEL_REPOSITORY
from export.tiny.compose import Corpus
from export.tiny.timed_speech import TimedUtterance, timed_strings
from export.tiny.voices import TEST_TAKES, WORDS, human_digits
from frontend.triton.alignment import aligned
from frontend.triton.client import TritonClient
from perf.speech.clips import HUMAN_SPEECH

TINY_ALIGNER = MODEL_REPOSITORY.parent / "export" / "tiny" / "tiny-aligner"
# Of whom no recording was trained on, at any stage.
STRANGER = "human-jackson"
CLASS_MS = 80
AT_A_TIME = 8
# Shortest and longest string, in digits.
USUAL, LONG = (2, 7), (14, 24)


@dataclass
class Shifts:
    """Milliseconds by which boundaries are off, and classes that differ from transformers' of how many."""

    off_ms: list[float] = field(default_factory=list)
    differ: int = 0
    told: int = 0


def composed(count: int) -> dict[str, list[TimedUtterance]]:
    """Strings of human digits of takes that nobody trained on, by who speaks them."""
    known, stranger = Corpus(), Corpus()
    for label, pcm in human_digits(HUMAN_SPEECH):
        if label.voice == STRANGER:
            stranger.digits["English", label.voice][label.digits[0]].append(pcm)
        elif label.take in TEST_TAKES:
            known.digits["English", label.voice][label.digits[0]].append(pcm)
    if not known.digits:
        raise FileNotFoundError(f"no recordings in {HUMAN_SPEECH}")
    return {
        "": timed_strings(known, count, *USUAL, seed=11),
        "_stranger": timed_strings(stranger, count, *USUAL, seed=14),
        "_long_strings": timed_strings(known, count // 3, *LONG, seed=16),
    }


async def truth(url: str, count: int) -> dict[str, float]:
    """align.classes_differ of all clips; align.mean_shift_ms and align.p95_shift_ms of known speakers, `_stranger` of
    the one left out, `_long_strings` of known speakers' long strings. The server has tiny's aligner."""
    model = Qwen3ASRForTokenClassification.from_pretrained(TINY_ALIGNER, dtype=torch.float32).eval()
    processor = AutoProcessor.from_pretrained(TINY_ALIGNER)
    client = TritonClient(url)
    figures: dict[str, float] = {}
    differ = told = 0
    try:
        for end, clips in composed(count).items():
            found = Shifts()
            places = asyncio.Semaphore(AT_A_TIME)

            async def one(clip: TimedUtterance, found: Shifts = found, places: asyncio.Semaphore = places) -> None:
                async with places:
                    whole = await _served(client, clip, whole=True)
                    times = await _served(client, clip)
                _note(found, times, whole, _expected(model, processor, clip), clip)

            for start in tqdm(range(0, len(clips), AT_A_TIME), desc=f"truth{end}", leave=False):
                await asyncio.gather(*(one(clip) for clip in clips[start : start + AT_A_TIME]))
            figures[f"align.mean_shift_ms{end}"] = float(np.mean(found.off_ms))
            figures[f"align.p95_shift_ms{end}"] = float(np.percentile(found.off_ms, 95))
            differ, told = differ + found.differ, told + found.told
    finally:
        await client.close()
    return {"align.classes_differ": differ, "align.classes": told, **figures}


async def _served(client: TritonClient, clip: TimedUtterance, *, whole: bool = False) -> NDArray[np.float64]:
    """Milliseconds of every start and end in order. whole: silence is left in the clip, as transformers leaves it."""
    text = " ".join(WORDS[clip.language][digit] for digit in clip.digits)
    words = await aligned(client, clip.pcm, text, language=clip.language, whole=whole)
    return np.array([1_000 * time for word in words for time in (word.start, word.end)])


@torch.inference_mode()
def _expected(model: Any, processor: Any, clip: TimedUtterance) -> NDArray[np.float64]:
    text = " ".join(WORDS[clip.language][digit] for digit in clip.digits)
    inputs, words = processor.prepare_forced_aligner_inputs(clip.pcm, text, clip.language)
    logits = model(**inputs).logits
    (told,) = processor.decode_forced_alignment(logits, inputs["input_ids"], words, model.config.timestamp_token_id)
    return np.array([1_000 * one[name] for one in told for name in ("start_time", "end_time")])


def _note(
    found: Shifts,
    served: NDArray[np.float64],
    whole: NDArray[np.float64],
    expected: NDArray[np.float64],
    clip: TimedUtterance,
) -> None:
    # A time behind the clip's last sample is told as that.
    expected = np.minimum(expected, clip.pcm.size // 160 * 10)
    found.told += expected.size
    found.differ += (
        int((np.abs(whole - expected) > CLASS_MS / 2).sum()) if whole.size == expected.size else expected.size
    )
    found.off_ms += np.abs(served - 1_000 * clip.spans.ravel()).tolist()
