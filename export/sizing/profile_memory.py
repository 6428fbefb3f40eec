"""What the models of a profile take of each GPU, part by part, in bytes.

Weights, KV cache and activations follow from dimensions and configurations; what CUDA takes besides is set down here,
each with where it comes from, because it can be measured on a GPU alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from export.encoder.plan import FULL, PROFILES
from export.errors import ExportError
from export.rooms import room
from export.sizing.dimensions import Checkpoint, Decoder, Encoder
from frontend.triton.profiles import ALIGN, ALIGNER_ENCODER, ProfileError, backends_of, config_of

MIB = 2**20
cache_size = room("decoder", "serving.cache_size")
# As a decoder counts them of its own process.
DRIVER, CUDA_CONTEXT = cache_size.DRIVER, cache_size.CUDA_CONTEXT
# Triton's pool of CUDA memory, its default (--cuda-memory-pool-byte-size).
TRITON_POOL = 64 * MIB
# Scratch memory of an encoder's kernels beside its activations; cuDNN's and TensorRT's are of this order.
SCRATCH = 256 * MIB
ALIGNER = "aligner"
HALF, SINGLE = 2, 4
STEP = "activations and graphs of a step"


@dataclass(frozen=True)
class Part:
    """device: the GPU's number. model: whose it is, or "" where it is nobody's."""

    device: int
    model: str
    what: str
    size: int


@dataclass(frozen=True)
class CacheRange:
    """The KV cache of a decoder: at most, where it looks at the free memory before any other model has taken its part,
    and at least, where it is the last (0: it would be refused). Models load at the same time, in no order."""

    device: int
    model: str
    at_most: int
    at_least: int
    token_bytes: int

    def sequences(self, size: int) -> int:
        """Sequences of 30 s, at their longest, that a cache of this size holds."""
        return int(size // (self.token_bytes * room("decoder", "serving.budget").TOKENS_OF_30_S))


@dataclass(frozen=True)
class ProfileMemory:
    """gpu_bytes: of each GPU. Decoders' caches are at their most in `parts`."""

    parts: list[Part]
    caches: list[CacheRange]
    gpu_bytes: int

    @property
    def devices(self) -> list[int]:
        return sorted({part.device for part in self.parts})

    def used(self, device: int) -> int:
        return sum(part.size for part in self.parts if part.device == device)

    @property
    def missing(self) -> int:
        """Bytes that the fullest GPU lacks; 0 where all fit."""
        return max(0, *(self.used(device) - self.gpu_bytes for device in self.devices))

    def fitting_share(self, device: int) -> int:
        """The largest kv_cache_mb in percent, for every decoder of this GPU alike, with which all would fit."""
        caches = [one for one in self.caches if one.device == device]
        rest = self.gpu_bytes - self.used(device) + sum(one.at_most for one in caches)
        return max(0, int(100 * rest / self.gpu_bytes / len(caches))) if caches else 0


def memory_of_profile(
    repository: Path,
    profile: str,
    gpu_bytes: int,
    large: Checkpoint,
    fast: Checkpoint,
    aligner: Checkpoint | None = None,
    *,
    has_flash: bool = True,
) -> ProfileMemory:
    """aligner: of a server that has one, whether or not one is exported. has_flash: whether FlashAttention takes its
    GPUs.

    Raises ExportError where the profile uses no GPU, or a cache does not fit into what is free for it.
    """
    try:
        names = set(backends_of(repository, profile)) - {ALIGN, ALIGNER, ALIGNER_ENCODER}
        names |= {ALIGNER, ALIGNER_ENCODER} if aligner else set()
        rooms = {model: config_of(repository, model, profile) for model in sorted(names)}
    except ProfileError as error:
        raise ExportError(str(error)) from error
    parts: list[Part] = []
    for model, config in rooms.items():
        checkpoint = fast if model.endswith("_fast") else large
        if aligner and model == ALIGNER:
            parts += _aligner(config, aligner, has_flash)
        elif aligner and model == ALIGNER_ENCODER:
            parts += _encoder(model, config, aligner.encoder)
        elif model.startswith("encoder"):
            parts += _encoder(model, config, checkpoint.encoder)
        if model.startswith("decoder"):
            parts += _decoder(model, config, checkpoint, fast, gpu_bytes, has_flash)
    if not parts:
        raise ExportError(f"the profile {profile or 'default'} computes on no GPU")
    parts = [*(Part(device, "", "driver", DRIVER) for device in sorted({one.device for one in parts})), *_once(parts)]
    caches = []
    for model, config in rooms.items():
        parameters = _parameters(config) if model.startswith("decoder") else None
        if parameters and parameters.engine == "ours" and _gpu(parameters.device) is not None:
            networks = _networks(parameters, fast if model.endswith("_fast") else large, fast)
            others = _kept_for_aligner(parameters, parts, aligner) if aligner else 0
            caches.append(_cache(model, parameters, parts, gpu_bytes, networks, others, has_flash))
    parts += [Part(one.device, one.model, "KV cache", one.at_most) for one in caches]
    return ProfileMemory(parts, caches, gpu_bytes)


def _once(parts: list[Part]) -> Iterator[Part]:
    """Triton's own process has one context, however many encoders it runs."""
    seen = set()
    for part in parts:
        if part.model != "tritonserver" or part not in seen:
            seen.add(part)
            yield part


def _encoder(model: str, config: Any, encoder: Encoder) -> Iterator[Part]:
    texts = {name: value.string_value for name, value in config.parameters.items()}
    if config.backend == "python":
        provider, device = room("encoder", "providers").split_device(texts.get("execution_provider", "cpu"))
        if provider == "cpu":
            return
        blocks = room("encoder", "parameters").Parameters.from_texts(texts).max_blocks_per_run
        yield Part(device, model, "CUDA context", CUDA_CONTEXT)
        # model.onnx as `export all` leaves it, in float32; an fp16 one takes half.
        yield Part(device, model, "weights", SINGLE * encoder.num_weights)
        yield Part(device, model, f"activations, {blocks} blocks", encoder.activations(blocks, 800, SINGLE) + SCRATCH)
        return
    device = next((int(number) for group in config.instance_group for number in group.gpus), 0)
    yield Part(device, "tritonserver", "CUDA context", CUDA_CONTEXT)
    yield Part(device, "tritonserver", "pool", TRITON_POOL)
    blocks = config.max_batch_size
    if config.backend == "onnxruntime":
        yield Part(device, model, "weights", SINGLE * encoder.num_weights)
        yield Part(device, model, f"activations, {blocks} blocks", encoder.activations(blocks, 800, SINGLE) + SCRATCH)
        return
    # A plan of an fp16 graph; in each context as many blocks as the plan takes, which is what it was built for.
    yield Part(device, model, "weights", HALF * encoder.num_weights)
    is_own = texts.get("execution_context_allocation_strategy") == "ON_PROFILE_CHANGE"
    for group in config.instance_group:
        for number in map(int, group.profile):
            frames, most = PROFILES[number].frames[2], PROFILES[number].blocks[2]
            held = (frames, most) if is_own else (FULL.frames[2], FULL.blocks[2])
            size = encoder.activations(held[1], held[0], HALF) + SCRATCH + encoder.edges(most, frames)
            yield Part(device, model, f"context of {most} blocks of {frames} frames", group.count * size)


def _decoder(
    model: str, config: Any, checkpoint: Checkpoint, fast: Checkpoint, gpu_bytes: int, has_flash: bool
) -> Iterator[Part]:
    parameters = _parameters(config)
    device = _gpu(parameters.device)
    if device is None:
        return
    if parameters.engine == "vllm":
        # A share of the whole, which it fills with its cache; of several GPUs, this one.
        arguments = room("decoder", "vllm_engine.arguments").engine_arguments(parameters, parameters.dtype, 0)
        share = arguments["gpu_memory_utilization"]
        yield Part(device, model, f"vLLM, {share:.0%} of all", int(share * gpu_bytes))
        return
    yield Part(device, model, "CUDA context", CUDA_CONTEXT)
    yield Part(device, model, "weights", HALF * checkpoint.decoder.num_weights)
    if parameters.draft_checkpoint:
        yield Part(device, model, "weights of the drafting network", HALF * fast.decoder.num_weights)
    networks = _networks(parameters, checkpoint, fast)
    size = room("decoder", "serving.step_memory").steps_bytes(parameters, networks, has_flash=has_flash)
    yield Part(device, model, STEP, size)


def _networks(parameters: Any, checkpoint: Checkpoint, fast: Checkpoint) -> list[tuple[Decoder, int]]:
    """Those of a decoder, and the bytes of a number of their format."""
    return [(one.decoder, HALF) for one in (checkpoint, *([fast] if parameters.draft_checkpoint else []))]


def _aligner(config: Any, checkpoint: Checkpoint, has_flash: bool) -> Iterator[Part]:
    texts = {name: value.string_value for name, value in config.parameters.items()}
    declared = room(ALIGNER, "parameters")
    parameters = declared.Parameters.from_texts(texts)
    device = _gpu(parameters.device)
    if device is None:
        return
    yield Part(device, ALIGNER, "CUDA context", CUDA_CONTEXT)
    yield Part(device, ALIGNER, "weights", HALF * checkpoint.decoder.num_weights)
    # One clip alone may have more than those that share a run.
    rows = max(parameters.max_rows_per_run, declared.MAX_CLIP_ROWS)
    one_pass_bytes = room("decoder", "serving.step_memory").one_pass_bytes
    size = one_pass_bytes(checkpoint.decoder, rows, HALF, has_flash=has_flash) + SCRATCH
    yield Part(device, ALIGNER, f"activations, {rows} rows", size)


def _kept_for_aligner(parameters: Any, parts: list[Part], aligner: Checkpoint) -> int:
    """As the decoder keeps it, by its own parameters and the weights that are there."""
    encoder = next((one.size for one in parts if one.model == ALIGNER_ENCODER and one.what == "weights"), 0)
    weights = HALF * aligner.decoder.num_weights, encoder or SINGLE * aligner.encoder.num_weights
    return int(
        room("decoder", "serving.neighbours").kept_bytes(
            parameters.device, parameters.aligner_device, parameters.aligner_encoder_device, weights
        )
    )


def _cache(
    model: str,
    parameters: Any,
    parts: list[Part],
    gpu_bytes: int,
    networks: list[tuple[Decoder, int]],
    others: int,
    has_flash: bool,
) -> CacheRange:
    """As the decoder decides it at load. parts: of all models, without caches; others: bytes kept for an aligner."""
    budget, device = room("decoder", "serving.budget"), _gpu(parameters.device) or 0
    here = [part for part in parts if part.device == device]
    token_bytes = sum(cache_size.token_bytes_of(*network) for network in networks)
    weights = sum(one.size for one in here if one.model == model and one.what.startswith("weights"))

    def size(taken: int) -> int:
        memory = budget.Memory("gpu", gpu_bytes, max(0, gpu_bytes - taken))
        tokens = cache_size.tokens_of_cache(parameters, memory, networks, weights, others, has_flash=has_flash)
        return token_bytes * int(tokens)

    # Its own weights and context are there when it looks; what its steps take comes after.
    everything = sum(one.size for one in here if (one.model, one.what) != (model, STEP))
    try:
        at_most = size(sum(one.size for one in here if one.model in ("", model) and one.what != STEP))
    except budget.NotEnoughMemory as error:
        raise ExportError(f"{model}: {error}") from error
    other_decoders = {one.model for one in here if one.what == STEP} - {model}
    try:
        # Another decoder on this GPU has a cache as large as this one could be.
        at_least = size(everything + len(other_decoders) * at_most)
    except budget.NotEnoughMemory:
        at_least = 0
    return CacheRange(device, model, at_most, at_least, token_bytes)


def _parameters(config: Any) -> Any:
    texts = {name: value.string_value for name, value in config.parameters.items()}
    return room("decoder", "parameters").Parameters.from_texts(texts)


def _gpu(device: str) -> int | None:
    found: int | None = room("decoder", "serving.neighbours").gpu_of(device)
    return found
