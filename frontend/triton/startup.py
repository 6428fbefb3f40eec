"""What the embedded Triton serves on this machine, decided before it starts, and said in one line."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from frontend.settings import Settings
from frontend.triton import hardware, profiles
from frontend.triton.hardware import Gpu, Host, Verdict
from frontend.triton.profiles import DEFAULT, ProfileError, Server

# The GPU's profile that needs no backend but Python's.
GPU_PROFILE = "cuda"
# All that the wheel has.
EMBEDDED_BACKENDS = frozenset({"python"})
BFLOAT16_CAPABILITY = (8, 0)


@dataclass(frozen=True)
class Plan:
    """profile: what Triton is started with. line: device, profile, dtype, memory, and why."""

    profile: str
    line: str


def decide(settings: Settings, inspect: Callable[[], Host] = hardware.inspect) -> Plan:
    """Choose the embedded Triton's profile: the one that is named, else the GPU's where one can be used, else the
    default one.

    Raises ProfileError, one line, where what is asked for cannot be served here.
    """
    repository, named = settings.model_repository, settings.profile
    host = Host(Verdict(None, "ASR_DEVICE=cpu")) if settings.device == "cpu" else inspect()
    gpu, reason = host.verdict.gpu, host.verdict.reason
    if settings.device == "cuda" and gpu is None:
        raise ProfileError(f"ASR_DEVICE=cuda, but no GPU can be used: {reason}")
    if named is not None:
        no_gpu = "" if gpu else f"no GPU can be used ({reason})"
        profiles.check_runs(repository, named, Server(EMBEDDED_BACKENDS, no_gpu))
        if profiles.needs_gpu(repository, named):
            return Plan(named, _line(repository, named, gpu, ""))
        if settings.device == "cuda":
            raise ProfileError(f"ASR_DEVICE=cuda, but the profile {profiles.named(named)!r} computes on the CPU")
        return Plan(named, _line(repository, named, None, "the profile was named"))
    if gpu and not host.onnxruntime_gpu:
        gpu, reason = None, f"{reason} is there, but onnxruntime-gpu is not installed"
    if gpu and GPU_PROFILE not in profiles.profiles_of(repository):
        gpu, reason = None, f"{reason} is there, but this model repository has no profile {GPU_PROFILE}"
    if settings.device == "cuda" and gpu is None:
        raise ProfileError(f"ASR_DEVICE=cuda: {reason}")
    profile = GPU_PROFILE if gpu else DEFAULT
    profiles.check_runs(repository, profile, Server(EMBEDDED_BACKENDS))
    return Plan(profile, _line(repository, profile, gpu, reason))


def _line(repository: Path, profile: str, gpu: Gpu | None, reason: str) -> str:
    where = gpu.summary if gpu else f"the CPU ({os.cpu_count()} cores, {hardware.available_memory_gb():.1f} GB free)"
    dtype = profiles.parameter_of(repository, "decoder", profile, "dtype") or "auto"
    if dtype == "auto":
        # On a CPU the decoder decides when it knows the checkpoint, and says so in Triton's log.
        dtype = "float32 if it fits, else bfloat16"
        if gpu:
            dtype = "bfloat16" if gpu.capability >= BFLOAT16_CAPABILITY else "float16"
    cache = profiles.parameter_of(repository, "decoder", profile, "kv_cache_mb")
    size = f"of {cache} MB" if cache.isdigit() and int(cache) else "sized by the free memory"
    why = f"; on the CPU: {reason}" if reason and gpu is None else ""
    return f"Serving on {where}: profile {profiles.named(profile)}, {dtype}, KV cache {size}{why}"
