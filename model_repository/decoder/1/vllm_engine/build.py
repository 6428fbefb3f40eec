"""From the parameters to a running vLLM."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import torch

from ..network.kv_cache import KVCache
from ..network.loader import Checkpoint, read_checkpoint, useful_threads
from ..network.qwen3 import Qwen3Config
from ..parameters import Parameters
from ..serving.budget import cache_tokens, chosen_dtype, parse_wish
from ..serving.build import DTYPES, Built, shape_of, summary_of, waiting_room
from ..serving.memory import memory_of
from .arguments import engine_arguments, environment, on_gpu
from .connection import launch
from .engine import VllmEngine
from .kept import KeptEmbeddings
from .language_model import write_language_model
from .loop import LoopThread
from .prompts import Embedder

# Embeddings of live sessions, on the host: 42 minutes of kept speech at the 1.7B's width.
MOST_KEPT_BYTES = 2**28
# Far above what a large checkpoint takes to be loaded, compiled and recorded.
STARTING_S = 1_800.0
CPU = torch.device("cpu")


def build(parameters: Parameters, folder: Path) -> Built:
    """folder: the model's version folder, where relative paths begin.

    Raises ValueError where vLLM is not installed or does not start, or values do not fit it, FileNotFoundError where
    the checkpoint is missing.
    """
    checkpoint = read_checkpoint(folder / parameters.checkpoint)
    threads = parameters.num_threads or useful_threads(checkpoint.num_weights)
    dtype = _dtype(parameters, checkpoint)
    arguments = engine_arguments(parameters, dtype, _cache_bytes(parameters, checkpoint.config, dtype))
    room = waiting_room(parameters)
    # This process computes nothing.
    torch.set_num_threads(1)
    loop = LoopThread("decoder-vllm")
    python = str(folder / parameters.vllm_python) if parameters.vllm_python else sys.executable
    connection = launch(python, environment(parameters, threads, os.environ))
    try:
        if "model" not in arguments:
            tied = "lm_head.weight" not in checkpoint.weights
            write_language_model(checkpoint.config, folder / parameters.checkpoint, connection.folder, tied=tied)
            arguments["model"] = str(connection.folder)
        loop.run(connection.start(arguments, "cuda" if on_gpu(parameters) else "cpu"), STARTING_S)
    except BaseException:
        # What does not become ready would hold its memory, and this model is loaded again.
        connection.close()
        raise
    table = checkpoint.weights["embed_tokens.weight"]
    kept = KeptEmbeddings(MOST_KEPT_BYTES, parameters.session_idle_s)
    engine = VllmEngine(
        loop,
        connection,
        Embedder(table, connection.dtype),
        checkpoint.end_ids,
        room,
        kept,
        parameters.max_running,
        parameters.aging_s,
    )
    told = summary_of(
        connection.dtype, parameters.device, checkpoint.config, connection.capacity, parameters.max_running
    )
    return Built(engine, checkpoint, table, 0, f"vLLM, {told}")


def _dtype(parameters: Parameters, checkpoint: Checkpoint) -> str:
    """vLLM's name of a number format; on a GPU `auto` is its own to choose, by the checkpoint and the GPU."""
    if on_gpu(parameters):
        return parameters.dtype
    layers, heads, width = shape_of(checkpoint.config)
    return chosen_dtype(parameters.dtype, memory_of(CPU), checkpoint.num_weights, 2 * layers * heads * width)


def _cache_bytes(parameters: Parameters, config: Qwen3Config, dtype: str) -> int:
    """Bytes of the KV cache; 0 where vLLM is to take what its share of a GPU leaves."""
    wish = parse_wish(parameters.kv_cache_mb)
    if on_gpu(parameters):
        return wish.bytes
    token_bytes = KVCache.token_bytes(*shape_of(config), DTYPES[dtype])
    return token_bytes * cache_tokens(wish, memory_of(CPU), token_bytes, parameters.max_running)
