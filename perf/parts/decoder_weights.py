"""Number formats of the decoder's weights: tokens per second in true dimensions, and what the tiny checkpoint hears.

float32 here is weights that need all of it. `checkpoint` is the network in float32 as well, with weights that 16 bits
hold, as published checkpoints have them. bfloat16 and int8 are the settings of those names.
"""

from __future__ import annotations

import dataclasses
import random
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from export.local import Collector, LocalAsr
from export.rooms import room
from export.verify import token_agreement, word_error_rate
from perf.models.random_checkpoint import TINY
from perf.parts.decoder_setting import Setting, run
from perf.parts.encoder import speech_set

sampling, sequence_room, sessions = (room("decoder", f"engine.{name}") for name in ("sampling", "sequence", "sessions"))
COUNTS = (1, 4)
# Seconds of speech.
PROMPT_S = 5
# What the engines of all formats keep at the same time.
KV_TOKENS = 4_096
FORMATS = {"float32": (torch.float32, "none"), "bfloat16": (torch.bfloat16, "none"), "int8": (torch.float32, "int8")}
PARTIAL_S, SESSIONS_AT_A_TIME = 0.5, 8
BLOCK_S, BLOCK_ROWS = 8, 104
RATE_HZ = 16_000


def weights(setting: Setting) -> dict[str, float]:
    """Speed of every format, in turns, and agreement of tokens with float32 on speech."""
    with tempfile.TemporaryDirectory() as folder:
        speech = speech_set(Path(folder), 40 if setting.quick else 120)
        clips, texts = [one.pcm() for one in speech], [one.text for one in speech]
    figures = _agreement(clips, texts)
    figures |= _partials(clips, 8 if setting.quick else 48)
    if setting.device.type == "cpu":
        figures |= _speed(setting)
    return figures


def _speed(setting: Setting) -> dict[str, float]:
    dimensions = dataclasses.replace(setting.dimensions, kv_tokens=KV_TOKENS)
    own = {name: value.bfloat16() for name, value in setting.weights.items()}
    float32 = dataclasses.replace(setting, dimensions=dimensions, dtype=torch.float32)
    checkpoint = dataclasses.replace(float32, weights=own)
    made = {
        "float32": float32,
        "checkpoint": checkpoint,
        "bfloat16": dataclasses.replace(checkpoint, dtype=torch.bfloat16),
        "int8": dataclasses.replace(checkpoint, quantization="int8"),
    }
    engines = {name: one.engine(max_running=max(COUNTS), max_step_tokens=2_048) for name, one in made.items()}
    best: dict[tuple[str, int], float] = {}
    num_tokens = 8 if setting.quick else 16
    for _ in tqdm(range(3), desc="weights", leave=False):
        for count in (0, *COUNTS):
            for name, engine in engines.items():
                seconds = _prompt(setting, engine) if not count else _decoding(setting, engine, count, num_tokens)
                best[name, count] = min(seconds, best.get((name, count), float("inf")))
    for engine in engines.values():
        engine.stop()
    figures = {}
    for name in made:
        figures[f"decoder.{name}_prompt_ms"] = 1_000 * best[name, 0]
        for count in COUNTS:
            figures[f"decoder.{name}_tokens_per_s_x{count}"] = count * num_tokens / best[name, count]
    for name in ("checkpoint", "bfloat16", "int8"):
        figures[f"decoder.{name}_over_float32_prompt"] = best["float32", 0] / best[name, 0]
        for count in COUNTS:
            figures[f"decoder.{name}_over_float32_x{count}"] = best["float32", count] / best[name, count]
    return figures


def _prompt(setting: Setting, engine: Any) -> float:
    return run(engine, [setting.sequence(PROMPT_S, 1)])


def _decoding(setting: Setting, engine: Any, count: int, num_tokens: int) -> float:
    """Seconds from the last sequence's first token on."""
    sequences = [setting.sequence(2, num_tokens + 1, seed=index) for index in range(count)]
    run(engine, sequences)
    timings = [one.timings for one in sequences]
    return max(one.finished for one in timings) - max(one.first_token for one in timings)


def _agreement(clips: list[NDArray[np.float32]], texts: list[str | None]) -> dict[str, float]:
    figures = {}
    reference: list[list[int]] = []
    for name, (dtype, quantize) in FORMATS.items():
        with LocalAsr(TINY, quantization=quantize, dtype=dtype) as asr:
            answers = asr.transcribe(clips)
        ids = [one.token_ids for one in answers]
        if name == "float32":
            reference = ids
        else:
            figures[f"decoder.{name}_token_agreement"] = token_agreement(reference, ids)
        error = word_error_rate(texts, [one.text for one in answers])
        if error is not None:
            figures[f"decoder.{name}_wer"] = error
    return figures


@dataclass
class _Compared:
    """Texts of live sessions beside decoding the same samples from their beginning."""

    count: int = 0
    differ: int = 0
    tokens_apart: int = 0


def _partials(clips: list[NDArray[np.float32]], count: int) -> dict[str, float]:
    """Growing speech of many streams at once, with drafts and kept blocks as `asr_stream` has them, against each prefix
    decoded by itself: how many answers differ in any token, and by how many tokens in all."""
    rng = random.Random(0)
    joined = []
    for _ in range(count):
        chosen = [rng.randrange(len(clips)) for _ in range(3)]
        joined.append(np.concatenate([clips[index] for index in chosen]))
    figures: dict[str, float] = {}
    for name, (dtype, quantize) in FORMATS.items():
        with LocalAsr(TINY, quantization=quantize, dtype=dtype) as asr:
            compared = _Compared()
            for first in tqdm(range(0, count, SESSIONS_AT_A_TIME), desc=f"{name} partials", leave=False):
                _sessions(asr, joined[first : first + SESSIONS_AT_A_TIME], compared)
        figures[f"decoder.{name}_partials"] = compared.count
        figures[f"decoder.{name}_partials_differ"] = compared.differ
        figures[f"decoder.{name}_partial_tokens_apart"] = compared.tokens_apart
    return figures


def _sessions(asr: LocalAsr, clips: list[NDArray[np.float32]], compared: _Compared) -> None:
    before, after = asr.prompts.build("", None)
    drafts: list[list[int]] = [[] for _ in clips]
    kept = [0 for _ in clips]
    step = int(PARTIAL_S * RATE_HZ)
    for end in range(step, max(clip.size for clip in clips) + step, step):
        going = [index for index, clip in enumerate(clips) if end - step < clip.size]
        audios = {index: asr.embeddings(clips[index][:end]) for index in going}
        alone = {index: _answer(asr, [(before, audio, after)])[0] for index, audio in audios.items()}
        requests = []
        for index in going:
            full = end // (BLOCK_S * RATE_HZ) * BLOCK_ROWS
            last = end >= clips[index].size
            session = sessions.SessionRequest(f"{index}", kept[index], 0 if last else min(full, len(audios[index])))
            rows = audios[index][kept[index] :]
            requests.append((before, rows, after, kept[index], drafts[index], session, len(audios[index])))
            kept[index] = session.keep_rows
        for index, live in zip(going, _answer(asr, requests), strict=True):
            compared.count += 1
            if live != alone[index]:
                compared.differ += 1
                longest = max(len(live), len(alone[index]))
                same = sum(a == b for a, b in zip(live, alone[index], strict=False))
                compared.tokens_apart += longest - same
            drafts[index] = live[:-2]


def _answer(asr: LocalAsr, requests: list[Any]) -> list[list[int]]:
    """requests: before, rows, after, and for a session its cached rows, draft, request and rows in all."""
    made = []
    for before, rows, after, *live in requests:
        cached, draft, session, length = live or (0, [], None, len(rows))
        params = sampling.SamplingParams(max_new_tokens=length + 64)
        prompt = sequence_room.Prompt(before, rows, after, cached)
        made.append(sequence_room.Sequence("", prompt, params, 1, Collector(), draft, session))
    run(asr.engine, made)
    return [one.listener.token_ids for one in made]
