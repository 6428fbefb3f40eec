"""What the decoder's benchmarks share: an engine with random weights, and requests for it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import torch

from export.local import Collector
from export.rooms import room
from perf.models.random_model import Dimensions

engine_room, kv_cache = room("decoder", "engine.engine"), room("decoder", "network.kv_cache")
sampling, scheduler, sequence_room = (
    room("decoder", name) for name in ("engine.sampling", "engine.scheduler", "engine.sequence")
)
qwen3, quantization = room("decoder", "network.qwen3"), room("decoder", "network.quantization")

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
    quantization: str = "none"

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
        quantize = quantization.quantizer(self.quantization, self.device)
        network = qwen3.Qwen3(config, self.weights, self.device, self.dtype, quantize)
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
        rows = rows[cached:] * 0.03
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
