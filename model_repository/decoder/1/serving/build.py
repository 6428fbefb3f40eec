"""From the parameters to a running engine."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from ..engine.engine import Engine
from ..engine.scheduler import PRIORITIES, SchedulerLimits
from ..engine.speculator import Speculator
from ..engine.waiting_room import WaitingRoom
from ..network.attention import has_flash
from ..network.kv_cache import KVCache
from ..network.loader import Checkpoint, read_checkpoint, useful_threads
from ..network.quantization import quantizer
from ..network.qwen3 import Qwen3, Qwen3Config
from ..network.runner import StepRunner
from ..network.shapes import Shapes
from ..parameters import Parameters
from .budget import TOKENS_OF_30_S, chosen_dtype
from .cache_size import tokens_of_cache
from .decoding import DecodingEngine
from .memory import memory_of
from .neighbours import kept_bytes, weights_in

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True)
class Built:
    """What the adapter needs. table: embeddings of tokens [vocab_size, D]; draft_width: the hidden size of the draft
    network, or 0 without one; summary: for the log, what there is."""

    engine: DecodingEngine
    checkpoint: Checkpoint
    table: torch.Tensor
    draft_width: int
    summary: str


def build(parameters: Parameters, folder: Path) -> Built:
    """folder: the model's version folder, where relative paths begin.

    Raises ValueError where the device cannot do what is asked for or values do not fit each other, FileNotFoundError
    where a checkpoint is missing.
    """
    if parameters.engine == "vllm":
        # Where it is not the engine, nothing of it is imported.
        from ..vllm_engine.build import build as build_vllm

        return build_vllm(parameters, folder)
    return _build_ours(parameters, folder)


def _build_ours(parameters: Parameters, folder: Path) -> Built:
    device = _device(parameters.device)
    checkpoint = read_checkpoint(folder / parameters.checkpoint)
    dtype = _dtype(parameters.dtype, device, checkpoint)
    torch.set_num_threads(parameters.num_threads or useful_threads(checkpoint.num_weights))
    if device.type == "cuda":
        torch.set_float32_matmul_precision("high" if parameters.tf32 else "highest")
    network = _network(parameters, checkpoint, device, dtype)
    draft = _draft_network(parameters, folder, checkpoint, device, dtype)
    networks = [network] if draft is None else [network, draft]
    cache, draft_cache = _caches(_tokens(parameters, networks, weights_in(folder)), network, draft)
    limits = SchedulerLimits(
        max_running=parameters.max_running,
        max_step_tokens=parameters.max_step_tokens,
        live_step_tokens=parameters.live_step_tokens,
        max_step_s=parameters.max_step_ms / 1000,
        live_step_s=parameters.live_step_ms / 1000,
        live_alone_s=parameters.live_alone_ms / 1000,
        aging_s=parameters.aging_s,
        session_idle_s=parameters.session_idle_s,
    )
    end_ids = frozenset(checkpoint.end_ids)
    speculator = None
    if draft is not None and draft_cache is not None:
        drafts = _runner(parameters, draft, draft_cache, end_ids)
        speculator = Speculator(drafts, parameters.draft_tokens, end_ids, limits.max_step_tokens)
    engine = Engine(
        network,
        cache,
        limits,
        checkpoint.end_ids,
        waiting_room(parameters),
        runner=_runner(parameters, network, cache, end_ids),
        speculator=speculator,
        look_ahead=parameters.look_ahead,
    )
    summary = summary_of(dtype, str(device), network.config, cache.extents.capacity, limits.max_running)
    draft_width = draft.config.hidden_size if draft is not None else 0
    return Built(engine, checkpoint, network.embedding, draft_width, summary)


def summary_of(dtype: torch.dtype, device: str, config: Qwen3Config, tokens: int, max_running: int) -> str:
    """What a decoder is, in words. tokens: of the KV cache."""
    num_bytes = tokens * KVCache.token_bytes(*shape_of(config), dtype)
    return (
        f"{str(dtype).removeprefix('torch.')} on {device}; "
        f"KV cache of {tokens} tokens ({tokens // 13} s of audio, {num_bytes / 2**20:.0f} MB): holds "
        f"{tokens // TOKENS_OF_30_S} sequences of 30 s at their longest, {max_running} run at a time"
    )


def waiting_room(parameters: Parameters) -> WaitingRoom:
    """Raises ValueError where a priority has no bound."""
    places, patience_s = parameters.max_waiting, parameters.max_wait_s
    if not len(places) == len(patience_s) == len(PRIORITIES):
        raise ValueError(f"max_waiting and max_wait_s each name one value for each priority of {PRIORITIES}")
    return WaitingRoom(
        dict(zip(PRIORITIES, places, strict=True)),
        dict(zip(PRIORITIES, patience_s, strict=True)),
        parameters.max_running,
    )


def _device(name: str) -> torch.device:
    """A device with its number, which this thread allocates on and records for from now on."""
    device = torch.device(name)
    if device.type != "cuda":
        return device
    if not torch.cuda.is_available():
        raise ValueError("device is cuda, but this PyTorch sees no CUDA device: use cpu, or install the extra `cuda`")
    device = torch.device("cuda", device.index or 0)
    if device.index >= torch.cuda.device_count():
        raise ValueError(f"device is {device}, but this PyTorch sees {torch.cuda.device_count()} CUDA devices")
    torch.cuda.set_device(device)
    return device


def _dtype(name: str, device: torch.device, checkpoint: Checkpoint) -> torch.dtype:
    capability = torch.cuda.get_device_capability(device) if device.type == "cuda" else None
    layers, heads, width = shape_of(checkpoint.config)
    values_per_token = 2 * layers * heads * width
    return DTYPES[chosen_dtype(name, memory_of(device), checkpoint.num_weights, values_per_token, capability)]


def _network(parameters: Parameters, checkpoint: Checkpoint, device: torch.device, dtype: torch.dtype) -> Qwen3:
    quantize = quantizer(parameters.quantization, device)
    packed = not parameters.torch_compile
    return Qwen3(checkpoint.config, checkpoint.weights, device, dtype, quantize, packed=packed)


def _draft_network(
    parameters: Parameters, folder: Path, checkpoint: Checkpoint, device: torch.device, dtype: torch.dtype
) -> Qwen3 | None:
    if not parameters.draft_checkpoint:
        return None
    draft = read_checkpoint(folder / parameters.draft_checkpoint)
    if draft.tokenizer.get_vocab() != checkpoint.tokenizer.get_vocab():
        raise ValueError("the draft checkpoint has another vocabulary: its tokens would mean something else")
    return _network(parameters, draft, device, dtype)


def _tokens(parameters: Parameters, networks: list[Qwen3], aligner: tuple[int, int]) -> int:
    """Of one budget for all networks' keys and values, which lie at the same places; their weights are in memory by
    now. aligner: bytes of its weights, as `kept_bytes` takes them."""
    device = networks[0].device
    memory = memory_of(device)
    sizes = [(one.config, one.dtype.itemsize) for one in networks]
    if device.type != "cuda":
        return tokens_of_cache(parameters, memory, sizes)
    others = kept_bytes(parameters.device, parameters.aligner_device, parameters.aligner_encoder_device, aligner)
    weights, flash = torch.cuda.memory_reserved(device), has_flash(device, networks[0].dtype)
    return tokens_of_cache(parameters, memory, sizes, weights, others, has_flash=flash)


def _caches(tokens: int, network: Qwen3, draft: Qwen3 | None) -> tuple[KVCache, KVCache | None]:
    """The draft network's is in the same extents."""

    def cache(one: Qwen3, shared: KVCache | None) -> KVCache:
        layers, heads, width = shape_of(one.config)
        extents = shared.extents if shared is not None else None
        return KVCache(layers, tokens, heads, width, one.device, one.dtype, extents)

    own = cache(network, None)
    return own, cache(draft, own) if draft is not None else None


def shape_of(config: Qwen3Config) -> tuple[int, int, int]:
    """Layers, key-value heads and their width, of which a KV cache is made."""
    return config.num_hidden_layers, config.num_key_value_heads, config.head_dim


def _runner(parameters: Parameters, network: Qwen3, cache: KVCache, end_ids: frozenset[int]) -> StepRunner:
    most_rows, most_sequences = max(parameters.max_step_tokens, parameters.max_running), parameters.max_running
    shapes = None
    if parameters.cuda_graphs or parameters.torch_compile:
        shapes = Shapes(list(parameters.decode_batches), most_rows, most_sequences)
    runner = StepRunner(
        network,
        cache,
        most_rows,
        most_sequences,
        end_ids,
        shapes,
        compiled=parameters.torch_compile,
        splits=parameters.attention_splits,
    )
    if parameters.cuda_graphs:
        runner.record()
    return runner
