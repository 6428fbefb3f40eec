"""Live sessions through Triton: is every text what offline decoding gives, and does endpointing lose a word?"""

from __future__ import annotations

import asyncio
import random
import statistics
from dataclasses import dataclass
from typing import Any

import jiwer
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from frontend.triton.client import TritonClient
from perf.live.fixed_chunks import windows
from perf.live_client import LiveClient
from perf.speech.conversations import RATE_HZ, Conversation, conversation

# Faster than real time: sessions take what has come together anyway.
SPEED = 6
AT_A_TIME = 4


@dataclass
class Heard:
    """A conversation and the texts of its session."""

    conversation: Conversation
    texts: list[dict[str, Any]]

    @property
    def finals(self) -> list[dict[str, Any]]:
        return [event for event in self.texts if event["type"] == "final"]


async def measure(url: str, num_utterances: int) -> dict[str, float]:
    """live.utterances, live.mismatches and word error rates, by a server's `asr_stream` and `asr`."""
    conversations = [conversation(8, seed) for seed in range(-(-num_utterances // 8))]
    places = asyncio.Semaphore(AT_A_TIME)

    async def hear(index: int) -> Heard:
        async with places:
            return Heard(conversations[index], await _session(url, conversations[index].pcm, index))

    told = [
        await one
        for one in tqdm(
            asyncio.as_completed([hear(i) for i in range(len(conversations))]),
            "sessions",
            len(conversations),
            leave=False,
        )
    ]
    client = TritonClient(url)
    try:
        return await _figures(client, told)
    finally:
        await client.close()


async def _session(url: str, pcm: NDArray[np.float32], seed: int) -> list[dict[str, Any]]:
    """Feed chunks of any size, from one sample to half a second; returns partials and finals."""
    rng = random.Random(seed)
    async with LiveClient(url) as client:

        async def feed() -> None:
            client.send(None, partial_interval_ms=200, debug=True)
            start = 0
            while start < pcm.size:
                size = 1 if rng.random() < 0.05 else rng.randint(2, RATE_HZ // 2)
                client.send(pcm[start : start + size])
                start += size
                await asyncio.sleep(size / RATE_HZ / SPEED)
            client.send(None, end=True)

        feeding = asyncio.create_task(feed())
        texts = [event async for event in client.events() if event["type"] in ("partial", "final", "error")]
        await feeding
    if any(event["type"] == "error" for event in texts):
        raise RuntimeError(f"a session failed: {texts}")
    return texts


async def _figures(client: TritonClient, told: list[Heard]) -> dict[str, float]:
    jobs = [(heard, event) for heard in told for event in heard.texts]
    offline = await _transcribed(
        client, [heard.conversation.pcm[event["start_sample"] : event["end_sample"]] for heard, event in jobs]
    )
    mismatches = [(event, text) for (_, event), text in zip(jobs, offline, strict=True) if event["text"] != text]
    for event, text in mismatches[:5]:
        print(f"live {event['text']!r}, offline {text!r}: {event}")
    references = [heard.conversation.text for heard in told]
    finals = [" ".join(event["text"] for event in heard.finals) for heard in told]
    same_spans = {id(event): text for (_, event), text in zip(jobs, offline, strict=True)}
    offline_finals = [" ".join(same_spans[id(event)] for event in heard.finals) for heard in told]
    by_hand, refed, chunked = await _peers(client, [heard.conversation for heard in told])
    partials = [event for heard in told for event in heard.texts if event["type"] == "partial"]
    revised = sum(event["revised"] for heard in told for event in heard.finals)
    return {
        "live.utterances": sum(len(heard.finals) for heard in told),
        "live.utterances_spoken": sum(len(heard.conversation.utterances) for heard in told),
        "live.partials": len(partials),
        "live.mismatches": len(mismatches),
        # One is the newest; more where a louder moment makes earlier ones be encoded again.
        "live.blocks_per_step": statistics.mean(event["meta"]["blocks_encoded"] for event in partials),
        "live.draft_accepted": _accepted(partials),
        "live.stable_revised": revised,
        "live.wer": jiwer.wer(references, finals),
        "live.wer_offline": jiwer.wer(references, offline_finals),
        "live.wer_true_spans": jiwer.wer(references, by_hand),
        "live.wer_refeed": jiwer.wer(references, refed),
        "live.wer_fixed_chunks": jiwer.wer(references, chunked),
    }


def _accepted(partials: list[dict[str, Any]]) -> float:
    """Share of the drafts' tokens that were right."""
    drafts = [event["meta"]["decoder"]["draft"] for event in partials]
    return sum(draft["accepted"] for draft in drafts) / max(1, sum(draft["tokens"] for draft in drafts))


async def _peers(client: TritonClient, conversations: list[Conversation]) -> tuple[list[str], list[str], list[str]]:
    """Texts of the utterances cut by hand; of whole sessions fed again from their start; of fixed chunks."""
    pad = RATE_HZ * 3 // 10
    spans = [one.pcm[max(0, said.start - pad) : said.end + pad] for one in conversations for said in one.utterances]
    texts = iter(await _transcribed(client, spans))
    by_hand = [" ".join(next(texts) for _ in one.utterances) for one in conversations]
    refed = await _transcribed(client, [one.pcm for one in conversations])
    chunks = [windows(one.pcm) for one in conversations]
    texts = iter(await _transcribed(client, [chunk for one in chunks for chunk in one]))
    chunked = [" ".join(filter(None, (next(texts) for _ in one))) for one in chunks]
    return by_hand, refed, chunked


async def _transcribed(client: TritonClient, clips: list[NDArray[np.float32]]) -> list[str]:
    """What the ensemble `asr` makes of each clip, every sample taken as speech."""
    places = asyncio.Semaphore(16)
    progress = tqdm(total=len(clips), desc="offline", leave=False)

    async def text(pcm: NDArray[np.float32]) -> str:
        async with places:
            async for delta in client.transcribe(pcm, parameters={"vad": "off"}):
                if delta.result is not None:
                    progress.update()
                    return str(delta.result["text"])
        raise RuntimeError("no answer")

    texts = await asyncio.gather(*(text(pcm) for pcm in clips))
    progress.close()
    return list(texts)
