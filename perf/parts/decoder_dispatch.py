"""What a step of the decoder dispatches in the true dimensions, counted without a GPU, as CUDA would dispatch it.

On the counting device (perf/models/counting_device.py): shapes alone for the true dimensions, values for the tiny
checkpoint, which goes through the engine's own loop. A kernel of the count is one of PyTorch's operations that is no
view and no allocation; `rms_norm` and attention are one each, and `logsumexp` counts for one although it is several.
"""

from __future__ import annotations

import random
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import torch

from export.local import Collector
from export.rooms import room
from perf.models.counting_device import Counts, counting, device
from perf.models.random_model import Dimensions, decoder_weights
from perf.parts.decoder_setting import ROWS_PER_S, TOKENS_PER_S

attention, kv_cache, qwen3, runner_room, shapes_room, step_room = (
    room("decoder", f"network.{name}") for name in ("attention", "kv_cache", "qwen3", "runner", "shapes", "step")
)
engine_room, sampling, scheduler_room, sequence_room, sessions = (
    room("decoder", f"engine.{name}") for name in ("engine", "sampling", "scheduler", "sequence", "sessions")
)
TINY = Path(__file__).resolve().parents[2] / "export" / "tiny" / "tiny"
MAX_ROWS, MAX_SEQUENCES = 8_192, 128
STREAMS, STEPS_A_STREAM, STEP_S = 64, 30, 0.45
WORKLOADS = {"1x1": [1], "64x1": [1] * 64, "16x110": [110] * 16, "64x110": [110] * 64}


def dispatch(dimensions: Dimensions) -> dict[str, float]:
    """Kernels, views, copies and waits of a step by its sequences and rows, and what the engine's loop dispatches."""
    figures: dict[str, float] = {}
    counted = {name: _one_step(dimensions, lengths) for name, lengths in WORKLOADS.items()}
    for name, counts in counted.items():
        figures[f"decoder.kernels_{name}"] = counts.num_kernels
        figures[f"decoder.views_{name}"] = counts.num_views
    largest = counted["64x110"]
    figures["decoder.copies_to_device"] = max(counts.to_device for counts in counted.values())
    figures["decoder.syncs"] = max(counts.syncs + counts.to_host for counts in counted.values())
    figures["decoder.kv_copied_bytes"] = max(counts.kv_copied_bytes for counts in counted.values())
    figures["decoder.kernels_64x110_over_1x1"] = largest.num_kernels / counted["1x1"].num_kernels
    return {**figures, **_loop(), **_live()}


def compiled() -> dict[str, float]:
    """What torch.compile makes of a layer beside its four products and attention, counted by its own compiler for the
    CPU; {} without a C++ compiler. As CUDA dispatches without it these are 14."""
    if shutil.which("g++") is None:
        return {}
    from torch._inductor import metrics

    counts = []
    for num_layers in (1, 3):
        torch._dynamo.reset()
        metrics.reset()
        config = qwen3.Qwen3Config(64, 48, 80, num_layers, 4, 2, 16)
        cpu = torch.device("cpu")
        # Compilers take no packed matrices.
        network = qwen3.Qwen3(config, decoder_weights(config), cpu, torch.float32, packed=False)
        cache = kv_cache.KVCache(num_layers, 100, 2, 16, cpu, torch.float32)
        shapes = shapes_room.Shapes([4], 4, 4)
        runner = runner_room.StepRunner(network, cache, 4, 4, shapes=shapes, compiled=True)
        step = step_room.Step()
        for index in range(4):
            step.add(np.zeros(1, dtype=np.int32), 3, 10 * index)
            step.judge(index)
        with torch.inference_mode():
            runner.launch(step).tokens()
        counts.append(metrics.generated_kernel_count)
    return {"decoder.compiled_kernels_a_layer": (counts[1] - counts[0]) / 2}


def _one_step(dimensions: Dimensions, lengths: list[int]) -> Counts:
    """A step of sequences with so many rows each after 300 tokens; the first row of each is audio, the last is
    judged."""
    config = dimensions.decoder
    with torch.device("meta"):
        weights = decoder_weights(config)
    with counting(values=False) as counter:
        network = qwen3.Qwen3(config, weights, device(), torch.bfloat16)
        heads = config.num_key_value_heads, config.head_dim
        cache = kv_cache.KVCache(config.num_hidden_layers, 512 * 65, *heads, device(), torch.bfloat16)
        counter.watch(cache)
        runner = runner_room.StepRunner(network, cache, MAX_ROWS, MAX_SEQUENCES)
        step = step_room.Step()
        for index, length in enumerate(lengths):
            ids = np.zeros(length, dtype=np.int32)
            audio = None
            if length > 1:
                ids[0], audio = -1 - step.num_audio, torch.zeros(1, config.hidden_size)
            step.add(ids, 300, 512 * index, audio)
            step.judge(step.num_rows - 1)
        counter.reset()
        runner.launch(step)
        return counter.reset()


def _loop() -> dict[str, float]:
    """Files and a live session of the tiny checkpoint through the engine's own loop, each step counted."""
    checkpoint = room("decoder", "network.loader").read_checkpoint(TINY)
    config = checkpoint.config
    heads = config.num_key_value_heads, config.head_dim
    found: list[Counts] = []
    with counting() as counter:
        network = qwen3.Qwen3(config, checkpoint.weights, device(), torch.float32)
        cache = kv_cache.KVCache(config.num_hidden_layers, 8_192, *heads, device(), torch.float32)
        counter.watch(cache)
        engine = engine_room.Engine(
            network, cache, scheduler_room.SchedulerLimits(), checkpoint.end_ids, look_ahead=True
        )
        launch = engine.runner.launch

        def counted(step: Any) -> Any:
            flight = launch(step)
            found.append(counter.reset())
            return flight

        engine.runner.launch = counted
        for index in range(8):
            engine.submit(_request(config.hidden_size, 2 + index, temperature=0.0 if index % 4 else 0.7, seed=index))
        counter.reset()
        engine._turn()
        while not engine.is_idle:
            engine._turn()
    kernels = [counts.num_kernels for counts in found]
    return {
        "decoder.loop_steps": len(found),
        "decoder.loop_kernels_most": max(kernels),
        "decoder.loop_kernels_median": sorted(kernels)[len(kernels) // 2],
        "decoder.loop_copies_to_device_most": max(counts.to_device for counts in found),
        "decoder.loop_syncs_most": max(counts.syncs + counts.to_host for counts in found),
        "decoder.loop_kv_copied_bytes": sum(counts.kv_copied_bytes for counts in found),
    }


def _request(width: int, seconds: float, *, seed: int, temperature: float = 0.0, **options: Any) -> Any:
    generator = torch.Generator().manual_seed(seed)
    audio = torch.randn(int(seconds * ROWS_PER_S), width, generator=generator) * 0.03
    tokens = max(2, int(seconds * TOKENS_PER_S))
    params = sampling.SamplingParams(tokens, temperature, seed, min_new_tokens=tokens, repetition_guard=False)
    prompt = sequence_room.Prompt([1, 2, 3], audio, [4, 5])
    return sequence_room.Sequence(str(seed), prompt, params, 2, Collector(), **options)


def _live() -> dict[str, float]:
    """Steps of 64 live streams that come at random and of files beside them, and those of them that have a shape that
    is recorded on a GPU: by the scheduler's own choice of rows under a GPU's bounds, with a small random network."""
    config = qwen3.Qwen3Config(64, 32, 32, 1, 4, 2, 16)
    limits = scheduler_room.SchedulerLimits(
        max_running=MAX_SEQUENCES, max_step_tokens=4_096, live_step_tokens=256, max_step_s=0.2, live_step_s=0.04
    )
    cache = kv_cache.KVCache(1, 200_000, 2, 16, torch.device("cpu"), torch.float32)
    network = qwen3.Qwen3(config, decoder_weights(config), torch.device("cpu"), torch.float32)
    # CUDA's kernel needs no masks, which keep steps of many rows out of the shapes on a CPU.
    network.attention = lambda *arguments: attention.by_sequence(*arguments)
    batches = [1, 2, 4, 8, 16, 32, 64, 128]
    shapes = shapes_room.Shapes(batches, limits.max_step_tokens, limits.max_running)
    runner = runner_room.StepRunner(network, cache, limits.max_step_tokens, limits.max_running, shapes=shapes)
    used: Counter[Any] = Counter()
    fit = runner.shape_of
    runner.shape_of = lambda step: (shape := fit(step), used.update([shape]))[0]
    engine = engine_room.Engine(network, cache, limits, (), None, runner, look_ahead=True)
    rng = random.Random(0)
    with torch.inference_mode():
        for turn in range(STEPS_A_STREAM * 8):
            for stream in range(STREAMS):
                if rng.random() < 1 / 8:
                    engine.submit(_live_request(stream, turn // 8, rng))
            if rng.random() < 0.2:
                engine.submit(_request(32, rng.uniform(2, 30), seed=turn))
            engine._turn()
        while not engine.is_idle:
            engine._turn()
    steps = runner.counters.steps
    return {
        "decoder.graph_share_live": runner.counters.fixed / steps,
        "decoder.live_steps": steps,
        "decoder.shapes_used": len(used),
        "decoder.shapes": len(list(shapes)),
    }


def _live_request(stream: int, step: int, rng: random.Random) -> Any:
    """The next step of a stream: what it has said so far, its full blocks kept, the last answer as a draft."""
    seconds = 1 + step * STEP_S
    full = int(seconds // 8) * 104
    audio = torch.randn(int(seconds * ROWS_PER_S), 32) * 0.03
    tokens = max(2, int(seconds * TOKENS_PER_S))
    params = sampling.SamplingParams(tokens, min_new_tokens=tokens, repetition_guard=False)
    session = sessions.SessionRequest(f"s{stream}", 0, full)
    draft = [rng.randrange(64) for _ in range(tokens - 1)]
    prompt = sequence_room.Prompt([1, 2, 3], audio, [4, 5])
    return sequence_room.Sequence("", prompt, params, 1, Collector(), draft, session)
