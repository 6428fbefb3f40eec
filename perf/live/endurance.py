"""An hour in one session, and clients that vanish: does anything grow, slow down or stay behind?"""

from __future__ import annotations

import asyncio
import random
import statistics
import urllib.request
from typing import Any

import jiwer
import numpy as np
import psutil
from tqdm import tqdm

from perf.live_client import LiveClient
from perf.speech.conversations import RATE_HZ, Conversation, conversation

CHUNK = RATE_HZ
# Audio that is sent and not yet answered: the session may lie so far behind.
AHEAD_S = 40
PART_S = 300


async def hour(url: str, pid: int, minutes: float) -> dict[str, float]:
    """A session of so many minutes, fed as fast as it is heard. pid: of the server, which is measured."""
    talk = _talk(minutes * 60)
    events: list[dict[str, Any]] = []
    memory: list[float] = []
    heard = 0
    progress = tqdm(total=round(talk.pcm.size / RATE_HZ), desc="one session", unit="s", leave=False)
    async with LiveClient(url) as client:

        async def feed() -> None:
            client.send(None, debug=True)
            for start in range(0, talk.pcm.size, CHUNK):
                while start - heard > AHEAD_S * RATE_HZ:
                    await asyncio.sleep(0.01)
                client.send(talk.pcm[start : start + CHUNK])
                # Leave the session time for a step between chunks: partials are what is measured.
                await asyncio.sleep(0.02)
            client.send(None, end=True)

        feeding = asyncio.create_task(feed())
        async for event in client.events():
            if event["type"] in ("partial", "final"):
                events.append(event)
                progress.update(max(0, (event["end_sample"] - heard) // RATE_HZ))
                heard = max(heard, event["end_sample"])
            if event["type"] == "final":
                memory.append(_rss_mb(pid))
        await feeding
    progress.close()
    part = min(PART_S, minutes * 60 / 4)
    first = [event for event in events if event["end"] < part]
    last = [event for event in events if event["start"] > minutes * 60 - part]
    return {
        "live.hour_minutes": minutes,
        "live.hour_utterances": sum(event["type"] == "final" for event in events),
        "live.hour_step_ratio": _step_ms(last) / _step_ms(first),
        "live.hour_memory_growth_mb": max(memory[-20:]) - max(memory[len(memory) // 10 : len(memory) // 10 + 20]),
        "live.hour_wer_first": _wer(talk, first),
        "live.hour_wer_last": _wer(talk, last),
    }


def _talk(seconds: float) -> Conversation:
    """One conversation after another."""
    parts: list[Conversation] = []
    while sum(part.pcm.size for part in parts) < seconds * RATE_HZ:
        parts.append(conversation(8, 5_000 + len(parts)))
    pcm = np.concatenate([part.pcm for part in parts])
    utterances, start = [], 0
    for part in parts:
        utterances += [type(said)(said.text, said.start + start, said.end + start) for said in part.utterances]
        start += part.pcm.size
    return Conversation(pcm, utterances)


def _step_ms(events: list[dict[str, Any]]) -> float:
    names = ("features_ms", "step_ms")
    return statistics.median(sum(event["meta"][name] for name in names) for event in events)


def _wer(talk: Conversation, events: list[dict[str, Any]]) -> float:
    finals = [event for event in events if event["type"] == "final"]
    first, last = finals[0]["start_sample"], finals[-1]["end_sample"]
    said = [one.text for one in talk.utterances if first <= (one.start + one.end) // 2 <= last]
    return jiwer.wer(" ".join(said), " ".join(event["text"] for event in finals))


async def vanish(url: str, pid: int, metrics_port: int, count: int) -> dict[str, float]:
    """Sessions that open, talk and leave at any moment, many at a time; then what is left of them."""
    pcm = conversation(6, 77).pcm
    rng = random.Random(0)
    places = asyncio.Semaphore(20)
    before = _rss_mb(pid)

    async def one(patience_s: float, ends: bool) -> None:
        async with places, LiveClient(url) as client:

            async def feed() -> None:
                for start in range(0, pcm.size, 3_200):
                    client.send(pcm[start : start + 3_200])
                    await asyncio.sleep(0.02)
                client.send(None, end=ends)

            async def listen() -> None:
                async for _ in client.events():
                    pass

            tasks = [asyncio.create_task(feed()), asyncio.create_task(listen())]
            await asyncio.wait(tasks, timeout=patience_s)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    await asyncio.gather(*(one(rng.uniform(0.0, 3.0), rng.random() < 0.3) for _ in range(count)))
    left = 0.0
    for _ in range(20):
        await asyncio.sleep(0.5)
        left = await asyncio.to_thread(_left, metrics_port)
        if not left:
            break
    return {
        "live.vanished_sessions": count,
        "live.vanished_left": left,
        "live.vanished_memory_growth_mb": _rss_mb(pid) - before,
    }


def _left(metrics_port: int) -> float:
    """Sessions, kept blocks and running sequences that Triton counts now."""
    with urllib.request.urlopen(f"http://127.0.0.1:{metrics_port}/metrics", timeout=5) as answer:
        lines = answer.read().decode().splitlines()
    names = ("asr_stream_sessions{", "asr_decoder_sessions{", "asr_decoder_running{", "asr_decoder_kv_tokens_used{")
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(names))


def _rss_mb(pid: int) -> float:
    """Resident memory of Triton and of its models' processes."""
    server = psutil.Process(pid)
    return sum(one.memory_info().rss for one in (server, *server.children(recursive=True))) / 1e6
