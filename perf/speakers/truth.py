"""Composed conversations through the service, beside who really speaks when."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import soundfile
from numpy.typing import NDArray
from tqdm import tqdm

from frontend.triton.client import TritonClient
from frontend.triton.speaking import told_apart
from perf.peers.environments import environment
from perf.speech.conversations import RATE_HZ
from perf.speech.meetings import Meeting, meeting, reference

# Other conversations than those that distances were chosen on.
FIRST_SEED = 1_000
SCORER = Path(__file__).with_name("scorer.py")
REFERENCE_S, LONG_TURN_S = 5.0, 2.0
TIMEOUT_S = 300.0
AT_A_TIME = 4
Rows = list[list[Any]]


@dataclass
class Scored:
    """Conversations with what was told of them, and how often the number of speakers was right."""

    talks: list[dict[str, Rows]] = field(default_factory=list)
    right: int = 0

    def add(self, talk: Meeting, told: Rows) -> None:
        truth = [[turn.start / RATE_HZ, turn.end / RATE_HZ, turn.speaker] for turn in talk.turns]
        self.talks.append({"truth": truth, "told": told})
        self.right += len({row[2] for row in told}) == len(talk.speakers)

    def figures(self, end: str) -> dict[str, float]:
        scored = _scores(self.talks)
        parts = {"missed": "missed detection", "false_alarm": "false alarm", "confused": "confusion"}
        return {
            f"speakers.der{end}": scored["rate"],
            **{f"speakers.{name}{end}": scored[part] / scored["total"] for name, part in parts.items()},
            f"speakers.count_right{end}": self.right / len(self.talks),
        }


async def truth(url: str, grpc_url: str, count: int) -> dict[str, float]:
    """speakers.der, and its parts missed, false_alarm and confused; speakers.count_right; the same `_true_turns`, where
    the turns are given; speakers.known_right, of turns of at least LONG_TURN_S."""
    talks = [meeting(2 + number % 3, 10 + number % 9, FIRST_SEED + number) for number in range(count)]
    served, given = Scored(), Scored()
    right = turns = 0
    client = TritonClient(grpc_url)
    try:
        async with httpx.AsyncClient(base_url=url, timeout=TIMEOUT_S) as http:
            for start in tqdm(range(0, count, AT_A_TIME), desc="conversations", leave=False):
                part = talks[start : start + AT_A_TIME]
                told = await asyncio.gather(*(_diarized(http, talk, known=False) for talk in part))
                named = await asyncio.gather(*(_diarized(http, talk, known=True) for talk in part))
                for talk, rows, known in zip(part, told, named, strict=True):
                    served.add(talk, rows)
                    given.add(talk, await _given(client, talk))
                    long = [turn for turn in talk.turns if turn.end - turn.start >= LONG_TURN_S * RATE_HZ]
                    turns += len(long)
                    right += sum(
                        _named(known, turn.start / RATE_HZ, turn.end / RATE_HZ) == turn.speaker for turn in long
                    )
    finally:
        await client.close()
    return {
        "speakers.conversations": count,
        **served.figures(""),
        **given.figures("_true_turns"),
        "speakers.known_right": right / turns,
    }


async def _diarized(http: httpx.AsyncClient, talk: Meeting, *, known: bool) -> Rows:
    data: dict[str, Any] = {"model": "gpt-4o-transcribe-diarize", "response_format": "diarized_json"}
    if known:
        data["known_speaker_names[]"] = talk.speakers
        data["known_speaker_references[]"] = [
            "data:audio/wav;base64," + base64.b64encode(_wav(reference(one, REFERENCE_S, seed=7))).decode()
            for one in talk.speakers
        ]
    answer = await http.post(
        "/v1/audio/transcriptions", data=data, files={"file": ("talk.wav", _wav(talk.pcm), "audio/wav")}
    )
    answer.raise_for_status()
    return [[one["start"], one["end"], one["speaker"]] for one in answer.json()["segments"]]


async def _given(client: TritonClient, talk: Meeting) -> Rows:
    """Who speaks where the true turns are known, each a span."""
    spans = np.array([[turn.start, turn.end] for turn in talk.turns], dtype=np.int32)
    apart = await told_apart(client, talk.pcm, spans=spans, spans_are_turns=True)
    return [
        [turn.start / RATE_HZ, turn.end / RATE_HZ, str(apart.speakers[number])]
        for turn, number in zip(talk.turns, apart.turn_of_span, strict=True)
    ]


def _named(rows: Rows, start: float, end: float) -> str:
    """Who is told to speak most of a time."""
    shared: dict[str, float] = {}
    for first, last, speaker in rows:
        shared[speaker] = shared.get(speaker, 0.0) + max(0.0, min(end, last) - max(start, first))
    return max(shared, key=lambda one: shared[one]) if shared else ""


def _wav(pcm: NDArray[np.float32]) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, pcm, RATE_HZ, format="WAV", subtype="PCM_16")
    return file.getvalue()


def _scores(talks: list[dict[str, Rows]]) -> dict[str, float]:
    python = environment("pyannote") / "bin" / "python"
    done = subprocess.run(
        [str(python), str(SCORER)],
        input=json.dumps(talks),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=True,
    )
    scored: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return scored
