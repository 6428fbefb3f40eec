"""ONNX Runtime's execution providers: where and by what a graph is run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnxruntime

# As many blocks as the model takes at once, where nobody says how many are run at once.
MAX_BLOCKS = 64
PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
    "tensorrt_rtx": "NvTensorRTRTXExecutionProvider",
}
PACKAGES = {
    "cuda": "onnxruntime-gpu with CUDA's libraries (the extra `cuda`)",
    "tensorrt": "onnxruntime-gpu, and TensorRT's libraries",
    "tensorrt_rtx": "onnxruntime-ep-nv-tensorrt-rtx-cu13 beside onnxruntime, not onnxruntime-gpu (the extra `rtx`), "
    "and an RTX 30 or newer (no Hopper)",
}


def split_device(value: str) -> tuple[str, int]:
    """The parameter execution_provider as a provider and the number of its GPU: `cuda`, or `cuda:1` for the second one.

    Raises ValueError where what follows the colon is no number.
    """
    provider, _, number = value.partition(":")
    if number and not number.isdigit():
        raise ValueError(f"execution_provider names a GPU by its number, such as cuda:1, not {value!r}")
    return provider, int(number or 0)


def open_session(
    path: Path,
    options: onnxruntime.SessionOptions,
    provider: str,
    device: int,
    engine_cache: str,
    max_blocks: int = MAX_BLOCKS,
) -> onnxruntime.InferenceSession:
    """A session that runs on this provider and no other.

    provider: cpu, cuda, tensorrt (built at the first load, minutes), tensorrt_rtx (seconds). device: the GPU's number.
    engine_cache: a folder where what TensorRT has built is kept; "": nowhere. max_blocks: of one run; TensorRT takes
    the memory for as many at once.
    Raises ValueError where there is no such provider, RuntimeError where it does not work here and would silently be
    replaced by the CPU.
    """
    if provider not in PROVIDERS:
        raise ValueError(f"execution_provider must be one of {', '.join(PROVIDERS)}, not {provider!r}")
    name = PROVIDERS[provider]
    if provider in ("cuda", "tensorrt"):
        _preload()
    try:
        if provider == "tensorrt_rtx":
            options.add_provider_for_devices([_rtx_device(device)], _rtx_options(engine_cache, max_blocks))
            session = onnxruntime.InferenceSession(str(path), options)
        else:
            # What a provider has no kernel for is run by those after it.
            order = {"cpu": ["cpu"], "cuda": ["cuda", "cpu"], "tensorrt": ["tensorrt", "cuda", "cpu"]}[provider]
            chosen: list[Any] = [
                (PROVIDERS[one], provider_options(one, device, engine_cache, max_blocks)) for one in order
            ]
            session = onnxruntime.InferenceSession(str(path), options, providers=chosen)
        missing = name not in session.get_providers()
    except (ImportError, onnxruntime.capi.onnxruntime_pybind11_state.Fail) as error:
        raise RuntimeError(f"{_not_here(provider)}: {error}") from error
    if missing:
        raise RuntimeError(_not_here(provider))
    return session


def _preload() -> None:
    """Load the CUDA and cuDNN libraries of pip's packages, which the loader would not look for where they lie."""
    if hasattr(onnxruntime, "preload_dlls"):
        onnxruntime.preload_dlls()


def provider_options(provider: str, device: int, engine_cache: str, max_blocks: int) -> dict[str, str]:
    """What `open_session` tells ONNX Runtime of a provider."""
    if provider == "cuda":
        # Shapes are few but change often: an exhaustive search for each costs seconds. The arena grows by what is asked
        # for, not to twice its size: the memory beside it is the KV cache's.
        return {
            "device_id": str(device),
            "cudnn_conv_algo_search": "HEURISTIC",
            "arena_extend_strategy": "kSameAsRequested",
        }
    if provider == "tensorrt":
        shapes = {f"trt_profile_{name}_shapes": text for name, text in _shapes(max_blocks).items()}
        cache = {"trt_engine_cache_enable": "1", "trt_timing_cache_enable": "1", "trt_engine_cache_path": engine_cache}
        return {"device_id": str(device), **shapes, **(cache if engine_cache else {})}
    return {}


def _rtx_options(engine_cache: str, max_blocks: int) -> dict[str, str]:
    shapes = {f"nv_profile_{name}_shapes": text for name, text in _shapes(max_blocks).items()}
    return {**shapes, **({"nv_runtime_cache_path": engine_cache} if engine_cache else {})}


def _rtx_device(number: int) -> Any:
    """NVIDIA's plugin for TensorRT for RTX is a package of its own; it is registered once in a process."""
    import onnxruntime_ep_nv_tensorrt_rtx as plugin  # type: ignore[import-not-found]

    name = plugin.get_ep_name()
    if name not in {device.ep_name for device in onnxruntime.get_ep_devices()}:
        onnxruntime.register_execution_provider_library(name, plugin.get_library_path())
    devices = [device for device in onnxruntime.get_ep_devices() if device.ep_name == name]
    if number >= len(devices):
        raise RuntimeError(f"{_not_here('tensorrt_rtx')}; it sees {len(devices)} GPUs, and number {number} is wanted")
    return devices[number]


def _shapes(max_blocks: int) -> dict[str, str]:
    """What an engine is built for, as the providers want it told: the smallest, the most frequent, the largest run."""
    sizes = {"min": (1, 100), "opt": (min(8, max_blocks), 800), "max": (max_blocks, 800)}
    return {
        name: f"MEL:{blocks}x128x{frames},FRAMES:{blocks}x1,CLIP_MAX:{blocks}x1"
        for name, (blocks, frames) in sizes.items()
    }


def _not_here(provider: str) -> str:
    return f"the execution provider {provider!r} does not work here: it needs {PACKAGES.get(provider, 'onnxruntime')}"
