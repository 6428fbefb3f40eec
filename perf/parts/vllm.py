"""vLLM as the decoder's engine beside ours: the same transcripts, what each costs, and how each batches."""

from __future__ import annotations

import asyncio
import itertools
import tempfile
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import torch
from tqdm import tqdm

from export.local import Collector
from export.rooms import room
from export.vllm import FOLDER
from perf.models.random_checkpoint import write_checkpoint
from perf.parts.asr import rate
from perf.parts.decoder_setting import ROWS_PER_S
from perf.peers.environments import environment
from perf.results import kept, write_json
from perf.service import Service, running_service
from perf.speech.clips import mixed_clips

PARTS = ("tiny", "large")
# Through Triton: clips at a time.
CONCURRENCY = (1, 16)
# In process: sequences at a time, of speech and tokens like those of a clip.
SEQUENCES, SECONDS, TOKENS, TURNS = (1, 8), 6, 24, 3
DTYPES = ("float32", "bfloat16")
START_S = 300
ENGINES = ("ours", "vllm")


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), help="parts to measure")
    parser.add_argument("--size", choices=["0.6b", "small"], default="0.6b", help="dimensions of the part `large`")
    parser.add_argument("--quick", action="store_true", help="a short run")
    parser.add_argument("--json", type=Path, help="write the figures here, as one flat object")


def run(arguments: Namespace) -> int:
    """The profile `vllm` beside the default one: transcripts that differ, clips a second at 1 and 16 at a time and
    memory, of the tiny checkpoint through Triton; tokens a second of 1 and 8 sequences and memory, of random weights in
    the true dimensions through the room's own code. 1 where a transcript differs."""
    # Raises PeerMissing, which says why, where vLLM cannot be installed.
    environment("vllm")
    figures = kept(arguments.json, "vllm.")
    if "tiny" in arguments.only:
        figures |= tiny(3 if arguments.quick else 4)
    if "large" in arguments.only:
        figures |= large(arguments.size)
    for name, value in figures.items():
        print(f"{name:44}{value:12.4g}" if isinstance(value, float) else f"{name:44}{value:>12}")
    write_json(arguments.json, figures)
    return 1 if figures.get("vllm.transcripts_different") else 0


def tiny(rounds: int) -> dict[str, Any]:
    """Both profiles through Triton, one after the other: at rest vLLM would take from whoever is measured."""
    clips = mixed_clips(96)
    texts: dict[str, list[str]] = {}
    figures: dict[str, Any] = {}
    for engine, profile in zip(ENGINES, ("default", "vllm"), strict=True):
        with running_service(
            START_S, ASR_MODEL_CONFIG_NAME=profile, ASR_TRITON_START_TIMEOUT_S=str(START_S)
        ) as service:
            url = service.health()["triton"]["url"]
            heard = texts[engine] = []
            asyncio.run(rate(url, clips, max(CONCURRENCY), heard))
            best = dict.fromkeys(CONCURRENCY, 0.0)
            for _ in tqdm(range(rounds), desc=engine, leave=False):
                for count in CONCURRENCY:
                    best[count] = max(best[count], asyncio.run(rate(url, clips, count, heard)))
            figures |= {f"vllm.{engine}_clips_per_s_x{count}": value for count, value in best.items()}
            figures[f"vllm.{engine}_x16_over_x1"] = best[16] / best[1]
            figures[f"vllm.{engine}_decoder_mb"] = _decoder_mb(service)
            figures[f"vllm.{engine}_ready_s"] = service.ready_s
    figures["vllm.transcripts"] = len(clips)
    figures["vllm.transcripts_different"] = sum(a != b for a, b in zip(*texts.values(), strict=True))
    return figures


def large(size: str) -> dict[str, Any]:
    """Random weights of `size` in 16 bits, both engines as the room builds them, in turns: a slow minute of the machine
    falls on both, and of each the best one counts."""
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        checkpoint = Path(name) / "checkpoint"
        write_checkpoint(checkpoint, size, "native")
        for dtype in DTYPES:
            with ExitStack() as stack:
                # Ours last: whose threads are this process's.
                engines = {one: stack.enter_context(_engine(one, checkpoint, dtype)) for one in reversed(ENGINES)}
                for count in tqdm([*SEQUENCES] * TURNS, desc=dtype, leave=False):
                    for engine, one in engines.items():
                        name = f"vllm.{engine}_{dtype}_tokens_per_s_x{count}"
                        figures[name] = max(figures.get(name, 0.0), one.speak(count))
                figures |= {f"vllm.{engine}_{dtype}_mb": one.megabytes for engine, one in engines.items()}
            for count in SEQUENCES:
                ours, theirs = (figures[f"vllm.{engine}_{dtype}_tokens_per_s_x{count}"] for engine in ENGINES)
                figures[f"vllm.ours_over_vllm_{dtype}_x{count}"] = ours / theirs
    return figures


@dataclass(frozen=True)
class Spoken:
    """speak: answers so many requests together, and gives tokens a second, their prompts' time included. megabytes:
    that the engine has taken."""

    speak: Callable[[int], float]
    megabytes: float


@contextmanager
def _engine(engine: str, checkpoint: Path, dtype: str) -> Iterator[Spoken]:
    texts = {"checkpoint": str(checkpoint), "dtype": dtype, "engine": engine, "kv_cache_mb": "512", "max_running": "8"}
    texts |= {"vllm_python": str(FOLDER / "bin" / "python")} if engine == "vllm" else {}
    parameters = room("decoder", "parameters").Parameters.from_texts(texts)
    before = _family_mb(psutil.Process())
    built = room("decoder", "serving.build").build(parameters, Path("/"))
    sequence = room("decoder", "engine.sequence")
    sampling = room("decoder", "engine.sampling").SamplingParams(TOKENS, min_new_tokens=TOKENS, repetition_guard=False)
    # Other audio each time: vLLM would find what it has computed.
    seeds = itertools.count()

    def speak(count: int) -> float:
        _let_run(go=engine == "vllm")
        generator = torch.Generator().manual_seed(next(seeds))
        collectors = []
        started = time.perf_counter()
        for _ in range(count):
            rows = torch.randn(SECONDS * ROWS_PER_S, built.checkpoint.config.hidden_size, generator=generator) * 0.03
            collectors.append(Collector())
            prompt = sequence.Prompt([0] * 16, rows, [0] * 8)
            built.engine.submit(sequence.Sequence("", prompt, sampling, 2, collectors[-1]))
        for one in collectors:
            if not one.done.wait(START_S) or one.error is not None:
                raise RuntimeError(one.error or f"{engine} did not answer in time")
        return count * TOKENS / (time.perf_counter() - started)

    built.engine.start()
    try:
        speak(1)
        yield Spoken(speak, _family_mb(psutil.Process()) - before)
    finally:
        built.engine.stop()


def _let_run(*, go: bool) -> None:
    """What vLLM does at rest must not slow whoever is measured then."""
    for process in psutil.Process().children(recursive=True):
        if go:
            process.resume()
        else:
            process.suspend()


def _decoder_mb(service: Service) -> float:
    """Memory of the decoder's process, and of those below it."""
    for process in psutil.Process(service.pid).children(recursive=True):
        if any(part.endswith("/decoder/1/model.py") for part in process.cmdline()):
            return _family_mb(process)
    raise RuntimeError("the decoder has no process")


def _family_mb(process: psutil.Process) -> float:
    """Pages that several processes map count once each."""
    return sum(one.memory_full_info().pss for one in (process, *process.children(recursive=True))) / 1e6
