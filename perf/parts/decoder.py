"""The decoder engine alone: batching, a live step, live requests under bulk, formats, and transformers beside it."""

from __future__ import annotations

import statistics
import time
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from export.local import Collector
from export.rooms import room
from perf.models.random_model import SIZES, decoder_weights, encoder
from perf.parts.decoder_bulk import under_bulk
from perf.parts.decoder_dispatch import compiled, dispatch
from perf.parts.decoder_setting import AFTER, BEFORE, ROWS_PER_S, TOKENS_PER_S, Setting, run
from perf.parts.decoder_weights import weights as measure_weights
from perf.results import kept, write_json

sessions = room("decoder", "engine.sessions")

PARTS = ("batching", "transformers", "live_step", "under_bulk", "dispatch", "weights")


def benchmark(
    quick: bool, json_path: Path | None, size: str, device: str, dtype: str, parts: list[str] | None = None
) -> int:
    """Print and write what was measured; where parts are not all of PARTS, the file's other figures stay."""
    dimensions = SIZES[size]
    # What is counted alone needs none.
    weights = {} if parts == ["dispatch"] else decoder_weights(dimensions.decoder)
    setting = Setting(dimensions, torch.device(device), getattr(torch, dtype), quick, weights)
    print(f"decoder {size}, {dtype} on {device}, {torch.get_num_threads()} threads")
    parts = parts or list(PARTS)
    figures: dict[str, Any] = {}
    if len(parts) < len(PARTS):
        figures = kept(json_path, "decoder.")
    measures = dict(
        zip(PARTS, (_batching, _transformers, _live_step, under_bulk, _dispatch, measure_weights), strict=True)
    )
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


def _dispatch(setting: Setting) -> dict[str, float]:
    return {**dispatch(setting.dimensions), **compiled()}


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
