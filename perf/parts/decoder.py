"""The decoder engine alone: batching, a live step, live requests under bulk, and transformers beside it."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from export.local import Collector
from export.rooms import room
from perf.models.random_model import SIZES, Dimensions, decoder_weights, encoder
from perf.results import kept, write_json

engine_room, kv_cache = room("decoder", "engine.engine"), room("decoder", "network.kv_cache")
sampling, scheduler, sequence_room = (
    room("decoder", name) for name in ("engine.sampling", "engine.scheduler", "engine.sequence")
)
qwen3, sessions = room("decoder", "network.qwen3"), room("decoder", "engine.sessions")

BEFORE, AFTER = 18, 8
# Speech: 13 embeddings a second, and about three tokens.
ROWS_PER_S, TOKENS_PER_S = 13, 3


@dataclass(frozen=True)
class Setting:
    """What is measured: a network, where it runs, and how long."""

    dimensions: Dimensions
    device: torch.device
    dtype: torch.dtype
    quick: bool
    weights: dict[str, torch.Tensor]

    def engine(self, **limits: Any) -> Any:
        config = self.dimensions.decoder
        cache = kv_cache.KVCache(
            config.num_hidden_layers,
            self.dimensions.kv_tokens,
            config.num_key_value_heads,
            config.head_dim,
            self.device,
            self.dtype,
        )
        network = qwen3.Qwen3(config, self.weights, self.device, self.dtype)
        # No token ends an answer: every run does the same work.
        made = engine_room.Engine(network, cache, scheduler.SchedulerLimits(**limits), ())
        made.start()
        return made

    def sequence(
        self,
        seconds: float,
        num_tokens: int,
        *,
        seed: int = 0,
        priority: int = 2,
        draft: list[int] | None = None,
        session: Any = None,
    ) -> Any:
        """A request of `seconds` of speech that answers with `num_tokens`."""
        cached = session.cached_rows if session is not None else 0
        generator = torch.Generator().manual_seed(seed)
        rows = torch.randn(int(seconds * ROWS_PER_S), self.dimensions.decoder.hidden_size, generator=generator)
        rows = (rows[cached:] * 0.03).to(self.device, self.dtype)
        prompt = sequence_room.Prompt(list(range(BEFORE)), rows, list(range(AFTER)), cached)
        params = sampling.SamplingParams(num_tokens, min_new_tokens=num_tokens, repetition_guard=False)
        return sequence_room.Sequence("", prompt, params, priority, Collector(), draft or (), session)


def run(engine: Any, sequences: list[Any]) -> float:
    """Seconds until all have answered."""
    started = time.monotonic()
    for one in sequences:
        engine.submit(one)
    for one in sequences:
        if not one.listener.done.wait(1_200):
            raise TimeoutError("the engine did not answer")
        if one.listener.error is not None:
            raise RuntimeError(one.listener.error)
    return time.monotonic() - started


PARTS = ("batching", "transformers", "live_step", "under_bulk")


def benchmark(
    quick: bool, json_path: Path | None, size: str, device: str, dtype: str, parts: list[str] | None = None
) -> int:
    """Print and write what was measured; where parts are not all of PARTS, the file's other figures stay."""
    dimensions = SIZES[size]
    weights = decoder_weights(dimensions.decoder)
    setting = Setting(dimensions, torch.device(device), getattr(torch, dtype), quick, weights)
    print(f"decoder {size}, {dtype} on {device}, {torch.get_num_threads()} threads")
    parts = parts or list(PARTS)
    figures: dict[str, Any] = {}
    if len(parts) < len(PARTS):
        figures = kept(json_path, "decoder.")
    measures = dict(zip(PARTS, (_batching, _transformers, _live_step, _under_bulk), strict=True))
    for part in parts:
        measured = measures[part](setting)
        for name, value in measured.items():
            print(f"{name:44}{value:10.3f}", flush=True)
        figures |= measured
    write_json(json_path, {**figures, "decoder.size": size, "decoder.device": device, "decoder.dtype": dtype})
    return 0


def _batching(setting: Setting) -> dict[str, float]:
    """Decoded tokens per second with 1, 4, 16 and 64 sequences of ragged lengths; prompts are not counted."""
    rates = {}
    num_tokens = 8 if setting.quick else 24
    for count in tqdm((1, 4, 16) if setting.quick else (1, 4, 16, 64), desc="batching", leave=False):
        engine = setting.engine(max_running=count, max_step_tokens=4_096)
        # All prompts go in first: the clock runs over what is decoded one token at a time.
        sequences = [setting.sequence(2 + index % 7, num_tokens + 1, seed=index) for index in range(count)]
        run(engine, [setting.sequence(2, 2)])
        run(engine, sequences)
        started = max(one.timings.first_token for one in sequences)
        ended = max(one.timings.finished for one in sequences)
        rates[count] = count * num_tokens / (ended - started)
        engine.stop()
    figures = {f"decoder.tokens_per_s_x{count}": rate for count, rate in rates.items()}
    return {**figures, "decoder.x16_over_x1": rates[16] / rates[1]}


def _ragged(setting: Setting) -> list[tuple[float, int]]:
    """Seconds of audio and tokens of the answer, as files of mixed lengths have them."""
    count = 8 if setting.quick else 24
    return [(2 + index * 7 % 17, TOKENS_PER_S * (2 + index * 7 % 17)) for index in range(count)]


def _transformers(setting: Setting) -> dict[str, float]:
    """The same ragged requests through the engine, and through transformers' generate in static batches."""
    from transformers import Qwen3Config, Qwen3ForCausalLM

    config = setting.dimensions.decoder
    requests = _ragged(setting)
    batch = 8
    tokens = sum(count for _, count in requests)
    engine = setting.engine(max_running=batch, max_step_tokens=512)
    ours = run(engine, [setting.sequence(s, n, seed=i) for i, (s, n) in enumerate(requests)])
    engine.stop()
    del engine
    with torch.device("meta"):
        peer = Qwen3ForCausalLM(
            Qwen3Config(
                **{name: getattr(config, name) for name in config.__dataclass_fields__ if name != "rope_theta"},
                rope_parameters={"rope_type": "default", "rope_theta": config.rope_theta},
                tie_word_embeddings=True,
                max_position_embeddings=8_192,
            )
        )
    state = {f"model.{name}": value.to(setting.device, setting.dtype) for name, value in setting.weights.items()}
    peer.load_state_dict(state, strict=False, assign=True)
    peer.tie_weights()
    peer.model.rotary_emb = type(peer.model.rotary_emb)(peer.config).to(setting.device)
    peer.eval()
    started = time.monotonic()
    for start in range(0, len(requests), batch):
        _generate(peer, requests[start : start + batch], setting)
    theirs = time.monotonic() - started
    return {
        "decoder.tokens_per_s_ragged": tokens / ours,
        "decoder.tokens_per_s_transformers": tokens / theirs,
        "decoder.vs_transformers": theirs / ours,
    }


@torch.inference_mode()
def _generate(peer: Any, requests: list[tuple[float, int]], setting: Setting) -> None:
    """One static batch: prompts padded to the left, decoded until the longest answer is done."""
    lengths = [BEFORE + int(seconds * ROWS_PER_S) + AFTER for seconds, _ in requests]
    width = max(lengths)
    rows = torch.randn(len(requests), width, setting.dimensions.decoder.hidden_size) * 0.03
    mask = torch.tensor([[0] * (width - length) + [1] * length for length in lengths])
    longest = max(count for _, count in requests)
    peer.generate(
        inputs_embeds=rows.to(setting.device, setting.dtype),
        attention_mask=mask.to(setting.device),
        max_new_tokens=longest,
        min_new_tokens=longest,
        do_sample=False,
        pad_token_id=0,
        eos_token_id=None,
    )


def _live_step(setting: Setting) -> dict[str, float]:
    """A step of a stream with 0.5 s of new audio, against encoding and decoding the utterance from its beginning.

    The draft is the answer without its last two tokens: as a previous hypothesis that the new audio goes on from.
    """
    blocks = encoder(setting.dimensions.encoder).to(setting.device, setting.dtype)
    figures = {}
    for seconds in (20,) if setting.quick else (10, 20, 40):
        num_tokens = seconds * TOKENS_PER_S
        full = int((seconds - 0.5) // 8) * 104
        engine = setting.engine(max_step_tokens=2_048)
        rest = (seconds - full // 13) * 100
        short = next(length for length in (200, 400, 800) if length >= rest)
        scratch_s, step_s = [], []
        for repeat in range(2 if setting.quick else 3):
            whole = setting.sequence(seconds, num_tokens, seed=seconds)
            scratch_s.append(_encode(blocks, -(-seconds // 8), 800, setting) + run(engine, [whole]))
            first = sessions.SessionRequest(f"s{repeat}", 0, full)
            run(engine, [setting.sequence(seconds - 0.5, 1, seed=seconds, session=first)])
            again = sessions.SessionRequest(f"s{repeat}", full, full)
            one = setting.sequence(
                seconds, num_tokens, seed=seconds, draft=whole.listener.token_ids[:-2], session=again
            )
            step_s.append(_encode(blocks, 1, short, setting) + run(engine, [one]))
            _check_equal(whole.listener, one.listener)
        engine.stop()
        figures[f"decoder.live_step_ms_{seconds}s"] = 1_000 * statistics.median(step_s)
        figures[f"decoder.live_step_speedup_{seconds}s"] = statistics.median(scratch_s) / statistics.median(step_s)
    return figures


def _check_equal(whole: Collector, step: Collector) -> None:
    """Both found the same tokens, up to the first where two are equally likely: random weights have such ties, and sums
    in another order decide them."""
    for index, (one, other) in enumerate(zip(whole.token_ids, step.token_ids, strict=True)):
        if one != other:
            if abs(whole.logprobs[index] - step.logprobs[index]) > 1e-3:
                raise RuntimeError("a live step answered otherwise than decoding from the beginning")
            return


@torch.inference_mode()
def _encode(blocks: Any, count: int, length: int, setting: Setting) -> float:
    """Seconds to encode `count` blocks of `length` frames."""
    mel = torch.randn(count, 128, length, device=setting.device)
    frames = torch.full((count, 1), length, dtype=torch.int32, device=setting.device)
    started = time.monotonic()
    blocks(mel, frames, torch.ones(count, 1, device=setting.device))
    if setting.device.type == "cuda":
        torch.cuda.synchronize()
    return time.monotonic() - started


def _under_bulk(setting: Setting) -> dict[str, float]:
    """Latency of short live requests alone, and with 32 bulk clips in the engine at any time."""
    count = 6 if setting.quick else 40
    warm_up = room("decoder", "serving.warm_up").warm_up

    def latencies(engine: Any) -> list[float]:
        return [run(engine, [setting.sequence(2, 3, seed=900 + i, priority=1)]) for i in range(count)]

    engine = setting.engine(max_running=4)
    warm_up(engine, [1.0, 8.0])
    alone = latencies(engine)
    # No live request for a while: what the bulk does by itself.
    engine.scheduler._last_live = -1e9
    with _Bulk(setting, engine) as bulk:
        bulk.settle()
        rows, alone_s = _rows(engine, lambda: time.sleep(10 if setting.quick else 40))
        bulk_alone = rows / alone_s
        loaded: list[float] = []
        steps, seconds = engine.stats.steps, engine.stats.step_seconds
        rows, loaded_s = _rows(engine, lambda: loaded.extend(latencies(engine)))
        step_s = (engine.stats.step_seconds - seconds) / (engine.stats.steps - steps)
    # What the live requests would have taken of the engine by themselves is lost to the bulk, and no more should be.
    left_to_bulk = bulk_alone * (loaded_s - sum(alone))
    bulk_with_live = rows - count * (BEFORE + 2 * ROWS_PER_S + AFTER + 3)
    engine.stop()

    def p95(values: list[float]) -> float:
        return sorted(values)[-(-95 * len(values) // 100) - 1]

    return {
        "decoder.live_ms_p95_alone": 1_000 * p95(alone),
        "decoder.live_ms_p95_under_bulk": 1_000 * p95(loaded),
        "decoder.step_ms_under_bulk": 1_000 * step_s,
        "decoder.live_p95_under_bulk_ratio": p95(loaded) / p95(alone),
        # Against 1.5 times the unloaded latency and one step: at most 1.
        "decoder.live_p95_under_bulk_of_bound": p95(loaded) / (1.5 * p95(alone) + step_s),
        # Rows of bulk computed beside live requests, over those of bulk alone in the time that live requests leave.
        "decoder.bulk_beside_live_ratio": bulk_with_live / left_to_bulk,
    }


class _Bulk:
    """Keeps 32 bulk clips in an engine."""

    def __init__(self, setting: Setting, engine: Any) -> None:
        self._setting = setting
        self._engine = engine
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._feed)

    def __enter__(self) -> _Bulk:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()

    def settle(self) -> None:
        """Until the first of them decode."""
        before = self._engine.stats.generated_tokens
        while self._engine.stats.generated_tokens < before + 20:
            time.sleep(0.05)

    def _feed(self) -> None:
        waiting: list[Any] = []
        number = 0
        while not self._stopping.wait(0.02):
            waiting = [one for one in waiting if not one.listener.done.is_set()]
            while len(waiting) < 32:
                waiting.append(self._setting.sequence(4 + number % 8, 40, seed=number % 50, priority=3))
                self._engine.submit(waiting[-1])
                number += 1


def _rows(engine: Any, work: Callable[[], object]) -> tuple[int, float]:
    """Rows that the engine computes while `work` runs, and how long that is."""
    rows, started = engine.stats.computed_tokens, time.monotonic()
    work()
    return engine.stats.computed_tokens - rows, time.monotonic() - started
