"""Throughput of the ensemble `asr`: against itself at 1, 4 and 16 clips at a time, and against transformers."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import numpy as np
import psutil
from numpy.typing import NDArray
from tqdm import tqdm

from export.rooms import MODEL_REPOSITORY
from frontend.triton.client import TritonClient
from perf.results import write_json
from perf.service import running_service
from perf.speech.clips import mixed_clips

Pcm = NDArray[np.float32]
CONCURRENCY = (1, 4, 16)
CHECKPOINT = MODEL_REPOSITORY.parent / "export" / "tiny" / "tiny"


def benchmark(quick: bool, json_path: Path | None) -> int:
    """Print a table, write the figures; returns 1 where a transcript differs from transformers'."""
    clips = mixed_clips(48 if quick else 192)
    rounds = 2 if quick else 5
    seconds = sum(clip.size for clip in clips) / 16_000
    with running_service() as service:
        time.sleep(1.0)
        memory = _resident_mb(service.pid)
        figures, texts = asyncio.run(measure_triton(service.health()["triton"]["url"], clips, rounds))
    peers, peer_texts = measure_transformers(clips, rounds)
    best_peer = max(peers.values())
    wrong = sum(a != b for a, b in zip(texts, peer_texts, strict=True))
    print(f"\n{len(clips)} clips, {seconds:.0f} s of speech, best of {rounds} rounds; every sample taken as speech\n")
    print(f"{'':34}{'clips/s':>10}{'RTFx':>10}{'ratio':>10}")
    for count, rate in figures.items():
        print(f"asr, {count:2} at a time{rate:27.1f}{rate * seconds / len(clips):10.0f}{rate / figures[1]:10.2f}")
    for name, rate in peers.items():
        print(f"{name:34}{rate:10.1f}{rate * seconds / len(clips):10.0f}{rate / figures[1]:10.2f}")
    print(f"\nasr, 16 at a time, over the better of transformers: {figures[16] / best_peer:.2f}")
    print(f"transcripts that differ from transformers': {wrong} of {len(clips)}")
    print("idle memory: " + ", ".join(f"{name} {value:.0f} MB" for name, value in memory.items()))
    flat = {
        "asr.x4_over_x1": figures[4] / figures[1],
        "asr.x16_over_x1": figures[16] / figures[1],
        "asr.vs_transformers": figures[16] / best_peer,
        "asr.clips_per_s_x1": figures[1],
        "asr.clips_per_s_x16": figures[16],
        "asr.transcripts_different": wrong,
        "asr.frontend_idle_rss_mb": memory["frontend"],
        "asr.triton_idle_rss_mb": memory["Triton with all models"],
    }
    write_json(json_path, flat)
    return 1 if wrong else 0


async def measure_triton(url: str, clips: list[Pcm], rounds: int) -> tuple[dict[int, float], list[str]]:
    """Clips per second by concurrency, and the transcripts. The best round counts, here and of the peer: what else
    runs on a machine takes away and adds nothing."""
    rates: dict[int, list[float]] = {count: [] for count in CONCURRENCY}
    texts: list[str] = []
    await rate(url, clips, 16, texts)
    # Rounds of every concurrency in turn, so that a slow minute of the machine falls on all of them.
    for _ in tqdm(range(rounds), desc="asr", leave=False):
        for count in CONCURRENCY:
            rates[count].append(await rate(url, clips, count, texts))
    return {count: max(values) for count, values in rates.items()}, texts


async def rate(url: str, clips: list[Pcm], count: int, texts: list[str]) -> float:
    """Clips per second of the ensemble, `count` at a time; `texts` is filled with the transcripts."""
    client = TritonClient(url)
    texts[:] = [""] * len(clips)
    places = asyncio.Semaphore(count)

    async def transcribe(index: int) -> None:
        async with places:
            async for delta in client.transcribe(clips[index], parameters={"vad": "off"}):
                if delta.result is not None:
                    texts[index] = delta.result["text"]

    started = time.monotonic()
    await asyncio.gather(*(transcribe(index) for index in range(len(clips))))
    took = time.monotonic() - started
    await client.close()
    return len(clips) / took


class Transformers:
    """Its own generate on the same checkpoint and clips, in static batches sorted by length."""

    def __init__(self, clips: list[Pcm]) -> None:
        import torch
        from transformers import AutoProcessor, Qwen3ASRForConditionalGeneration

        self._model = Qwen3ASRForConditionalGeneration.from_pretrained(CHECKPOINT, dtype=torch.float32).eval()
        self._processor = AutoProcessor.from_pretrained(CHECKPOINT)
        self._inference = torch.inference_mode
        self._clips = clips
        self._by_length = sorted(range(len(clips)), key=lambda i: clips[i].size)
        self.texts: list[str] = [""] * len(clips)

    def rate(self, batch: int) -> float:
        """Clips per second."""
        started = time.monotonic()
        with self._inference():
            for start in range(0, len(self._clips), batch):
                self._run(self._by_length[start : start + batch])
        return len(self._clips) / (time.monotonic() - started)

    def _run(self, indices: list[int]) -> None:
        audio = {"audio_kwargs": {"sampling_rate": 16_000}}
        clips = [self._clips[i] for i in indices]
        inputs = self._processor.apply_transcription_request(clips, processor_kwargs=audio)
        longest = max(clip.size for clip in clips)
        out = self._model.generate(**inputs, max_new_tokens=longest // 1_230 + 64, do_sample=False)
        answers = self._processor.decode(out[:, inputs["input_ids"].shape[1] :], return_format="transcription_only")
        for index, text in zip(indices, answers, strict=True):
            self.texts[index] = text


def measure_transformers(clips: list[Pcm], rounds: int) -> tuple[dict[str, float], list[str]]:
    """Clips per second of transformers, one at a time and in batches of 16, and the transcripts."""
    peer = Transformers(clips)
    rates: dict[str, list[float]] = {}
    for _ in tqdm(range(rounds), desc="transformers", leave=False):
        for batch in (16, 1):
            rates.setdefault(f"transformers, batch {batch}", []).append(peer.rate(batch))
    return {name: max(values) for name, values in rates.items()}, peer.texts


def _resident_mb(frontend_pid: int) -> dict[str, float]:
    """Resident memory of the frontend, and of the Triton below it with its models' processes."""
    frontend = psutil.Process(frontend_pid)
    family = frontend.children(recursive=True)
    # Pages that several processes map count once each where the system tells them apart.
    triton = sum(member.memory_full_info().pss for member in family)
    return {"frontend": frontend.memory_info().rss / 1e6, "Triton with all models": triton / 1e6}
