"""What a live step costs in the true dimensions, against feeding the session again and against fixed chunks.

Weights are random, so a hypothesis does not go on from the one before as real ones do. The draft is made as a real one
would be: what the model itself says of the new audio, without the last words of the previous hypothesis.
"""

from __future__ import annotations

import asyncio
import math
import statistics
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from export.local import Collector
from export.rooms import room
from perf.live import fixed_chunks
from perf.models.random_model import SIZES, decoder_weights, encoder
from perf.speech.clips import RECORDINGS, recording

blocks_room, stream_rooms = room("features", "blocks"), room("asr_stream", "rooms")
utterance_room = room("asr_stream", "utterance")
engine_room, kv_cache, qwen3 = (
    room("decoder", name) for name in ("engine.engine", "network.kv_cache", "network.qwen3")
)
sampling, scheduler, sequence_room = (
    room("decoder", name) for name in ("engine.sampling", "engine.scheduler", "engine.sequence")
)
inputs, audio_room = room("decoder", "serving.inputs"), room("decoder", "network.embeddings")

RATE_HZ = 16_000
ROWS_PER_S, TOKENS_PER_S = 13, 3
BEFORE, AFTER = 18, 8
STEP_S, UTTERANCE_S = 0.5, 20
# Tokens at the end of a hypothesis that the next one changes; the official SDK's streaming takes back five.
REVISED, TAKEN_BACK = 2, 5
# `language English<asr_text>` and the end.
HEADER_TOKENS = 4


@dataclass
class Cost:
    """Of one step: seconds, blocks encoded and rows of the decoder."""

    seconds: float = 0.0
    blocks: float = 0.0
    rows: int = 0


class RandomRooms:
    """The encoder and the decoder's engine with random weights, in this process; counts what is asked of them."""

    def __init__(self, size: str) -> None:
        dimensions = SIZES[size]
        config, device = dimensions.decoder, torch.device("cpu")
        heads = (config.num_key_value_heads, config.head_dim)
        cache = kv_cache.KVCache(config.num_hidden_layers, dimensions.kv_tokens, *heads, device, torch.float32)
        network = qwen3.Qwen3(config, decoder_weights(config), device, torch.float32)
        limits = scheduler.SchedulerLimits(max_step_tokens=2_048)
        self._engine = engine_room.Engine(network, cache, limits, ())
        self._engine.start()
        self._encoder = encoder(dimensions.encoder)
        self._width = config.hidden_size
        self._sent: dict[str, NDArray[np.float32]] = {}
        self.cost = Cost()
        self.is_timed = False

    def close(self) -> None:
        self._engine.stop()

    def features(self, pcm: NDArray[np.float32]) -> Any:
        """mel [N, 128, 800] and frames [N, 1] of a clip."""
        started = time.monotonic()
        blocks = blocks_room.blocks_of(pcm, 64)
        self.cost.seconds += time.monotonic() - started
        return blocks.mel, blocks.frames

    def encode(self, mel: Any, frames: Any, clip_max: Any) -> NDArray[np.float32]:
        """Embeddings [N, rows, D] of blocks."""
        started = time.monotonic()
        with torch.inference_mode():
            out: NDArray[np.float32] = self._encoder(*(torch.from_numpy(x) for x in (mel, frames, clip_max))).numpy()
        self.cost.seconds += time.monotonic() - started
        self.cost.blocks += mel.shape[0] * mel.shape[2] / 800
        return out

    async def step(self, question: Any, *, fast: bool) -> Any:
        clip_max = np.full((len(question.mel), 1), question.clip_max, dtype=np.float32)
        embeddings = self.encode(question.mel, question.frames, clip_max)
        rows = audio_room.checked_audio(embeddings, question.frames, self._width).rows * 0.03
        cached = self._sent.get(question.session, rows[:0])[: question.cached_blocks * inputs.BLOCK_TOKENS]
        everything = np.concatenate([cached, rows])
        num_tokens = max(2, len(everything) * TOKENS_PER_S // ROWS_PER_S)
        # What the model says of all of it: not timed, and before what is timed its length is enough.
        oracle = self.run(everything, num_tokens)[0] if self.is_timed else [0] * num_tokens
        session = inputs.checked_session(
            {"session": question.session, "cached_blocks": question.cached_blocks, "keep_blocks": question.keep_blocks},
            [int(count) for count in question.frames[:, 0]],
        )
        draft = oracle[: max(0, len(question.draft) - REVISED)]
        ids, cost = self.run(rows, num_tokens if self.is_timed else 2, draft, session)
        self.cost.seconds += cost.seconds
        self.cost.rows += cost.rows
        if question.session:
            self._sent[question.session] = everything[: question.keep_blocks * inputs.BLOCK_TOKENS]
        return stream_rooms.Heard("", None, ids if self.is_timed else oracle)

    def end_session(self, name: str, *, fast: bool) -> None:
        self._engine.end_session(name)

    def run(
        self, rows: NDArray[np.float32], num_tokens: int, draft: list[int] | None = None, session: Any = None
    ) -> tuple[list[int], Cost]:
        """Answer a request with so many tokens: their ids, and what it took."""
        before = self._engine.stats.computed_tokens
        collector = Collector()
        params = sampling.SamplingParams(num_tokens, min_new_tokens=num_tokens, repetition_guard=False)
        cached = session.cached_rows if session else 0
        prompt = sequence_room.Prompt(list(range(BEFORE)), torch.from_numpy(rows), list(range(AFTER)), cached)
        started = time.monotonic()
        self._engine.submit(sequence_room.Sequence("", prompt, params, 1, collector, draft or (), session))
        if not collector.done.wait(600) or collector.error is not None:
            raise RuntimeError(collector.error or "no answer in time")
        cost = Cost(time.monotonic() - started)
        cost.rows = self._engine.stats.computed_tokens - before
        return collector.token_ids, cost


AGAIN_AT = (20.0, 60.0, 120.0)


@dataclass
class Run:
    """Costs of steps by seconds of session: of each the fastest of the run's turns, which the machine's other work has
    lengthened least."""

    ours: dict[float, Cost]
    again: dict[float, Cost]
    chunk: float = math.inf

    def typical(self, until: float) -> float:
        """Seconds of a step around this time of a session, which is at any place of its utterance."""
        return statistics.mean(cost.seconds for t, cost in self.ours.items() if until - UTTERANCE_S < t <= until)

    def ratio(self, t: float) -> float:
        """Fed again over ours."""
        return self.again[t].seconds / self.typical(t)

    @staticmethod
    def keep(costs: dict[float, Cost], t: float, cost: Cost) -> None:
        costs[t] = min(costs.get(t, cost), cost, key=lambda one: one.seconds)


def measure(size: str, quick: bool, turns: int) -> tuple[dict[str, float], dict[str, list[tuple[float, float]]]]:
    """Figures of two runs, `_0` (or no number) and `_1`, of so many turns each, measured in turns; and for the plot the
    seconds of a step by seconds of session, of all three ways."""
    rooms = RandomRooms(size)
    step = 10 if quick else 5
    sessions = [float(t) for t in range(step, 121, step)]
    again_at = AGAIN_AT if quick else (10.0, 20.0, 40.0, 60.0, 90.0, 120.0)
    # Its loudest moment comes in its first seconds, as in most speech: later ones make blocks be encoded again.
    talk = np.tile(recording(RECORDINGS / "english.flac"), 30)[: 121 * RATE_HZ]
    runs = [Run({}, {}), Run({}, {})]
    steps = [(turn, t) for turn in range(2 * turns) for t in sessions]
    for turn, t in tqdm(steps, desc="steps", leave=False):
        run = runs[turn % 2]
        run.keep(run.ours, t, _live_step(rooms, talk, t))
        if t in again_at:
            run.keep(run.again, t, _refeed_step(rooms, talk, t))
            run.chunk = min(run.chunk, _chunk_step(rooms, talk).seconds)
    rooms.close()
    figures: dict[str, float] = {}
    for number, run in enumerate(runs):
        figures |= {f"live.vs_refeed_{t:.0f}s_{number}": run.ratio(t) for t in AGAIN_AT}
        figures[f"live.step_growth_20s_to_120s_{number}"] = run.typical(120) / run.typical(20)
        growth = run.again[120.0].seconds / run.again[20.0].seconds
        figures[f"live.refeed_growth_20s_to_120s_{number}"] = growth
    run = runs[0]
    figures |= {f"live.vs_refeed_{t:.0f}s": run.ratio(t) for t in AGAIN_AT}
    figures["live.step_s_fixed_chunks"] = run.chunk
    for t in AGAIN_AT:
        figures[f"live.step_s_around_{t:.0f}s"] = run.typical(t)
        for name, cost in (("live.step", run.ours[t]), ("live.refeed", run.again[t])):
            figures |= {f"{name}_s_at_{t:.0f}s": cost.seconds, f"{name}_rows_at_{t:.0f}s": cost.rows}
            figures[f"{name}_blocks_at_{t:.0f}s"] = cost.blocks
    curves = {
        "asr_stream": [(t, cost.seconds) for t, cost in run.ours.items()],
        "session fed again": [(t, cost.seconds) for t, cost in run.again.items()],
        "fixed chunks of 600 ms": [(t, run.chunk) for t in (sessions[0], 120.0)],
    }
    return figures, curves


def _live_step(rooms: RandomRooms, talk: NDArray[np.float32], session_s: float) -> Cost:
    """A step with 0.5 s of new audio, at a time of a session whose utterances are 20 s long."""
    length_s = (session_s - 1e-9) % UTTERANCE_S
    start = int((session_s - length_s) * RATE_HZ)

    def read(first: int, end: int) -> NDArray[np.float32]:
        return talk[first:end]

    name = f"{session_s}"
    utterance = utterance_room.Utterance(name, 1, start, read, rooms, two_sizes=False)
    options = utterance_room.Options()
    end = int(session_s * RATE_HZ)

    async def steps() -> Cost:
        await utterance.hypothesis(end - int(STEP_S * RATE_HZ), options, final=False)
        rooms.cost, rooms.is_timed = Cost(), True
        await utterance.hypothesis(end, options, final=False)
        cost, rooms.cost, rooms.is_timed = rooms.cost, Cost(), False
        cost.seconds += utterance.work.features_ms / 1000
        return cost

    cost = asyncio.run(steps())
    utterance.forget()
    return cost


def _refeed_step(rooms: RandomRooms, talk: NDArray[np.float32], session_s: float) -> Cost:
    """The session from its start, with the text so far, less its last tokens, as the beginning of the answer."""
    rooms.cost = Cost()

    mel, frames = rooms.features(talk[: int(session_s * RATE_HZ)])
    blocks = rooms.encode(mel, frames, np.full((len(mel), 1), mel.max(), dtype=np.float32))
    heard = [one[: audio_room.num_tokens(int(n))] for one, n in zip(blocks, frames[:, 0], strict=True)]
    rows = np.concatenate(heard) * np.float32(0.03)
    text = int(session_s * TOKENS_PER_S) - TAKEN_BACK
    # The text so far costs what embeddings cost: it stands in the prompt.
    known = np.zeros((max(0, text), rows.shape[1]), dtype=np.float32)
    _, cost = rooms.run(np.concatenate([rows, known]), TAKEN_BACK + round(STEP_S * TOKENS_PER_S))
    return Cost(rooms.cost.seconds + cost.seconds, rooms.cost.blocks, cost.rows)


def _chunk_step(rooms: RandomRooms, talk: NDArray[np.float32]) -> Cost:
    """A window by itself."""
    rooms.cost = Cost()
    window = fixed_chunks.CHUNK + fixed_chunks.OVERLAP

    mel, frames = rooms.features(talk[:window])
    heard = rooms.encode(mel[:, :, :200].copy(), frames, mel.max().reshape(1, 1))
    rows = heard[0][: audio_room.num_tokens(int(frames[0, 0]))] * np.float32(0.03)
    _, cost = rooms.run(rows, HEADER_TOKENS + round(window / RATE_HZ * TOKENS_PER_S))
    return Cost(rooms.cost.seconds + cost.seconds, rooms.cost.blocks, cost.rows)
