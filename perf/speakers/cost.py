"""What telling speakers apart costs beside transcribing, and what an hour of it leaves."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from export.rooms import MODEL_REPOSITORY, room
from export.speakers import speaker_folder
from perf.parts.transcribing import Transcribing
from perf.parts.turns import in_turns
from perf.speech.conversations import RATE_HZ
from perf.speech.meetings import meeting

encoder_room, stretch_room = room("speakers", "encoder"), room("speakers", "stretch")
conversation_room, clustering = room("speakers", "conversation"), room("speakers", "clustering")
BLOCKS = 2
# An hour, a turn every two seconds, in stretches of half a minute.
TURNS, STRETCHES, PEOPLE = 1_800, 120, 4


def cost(*, quick: bool) -> dict[str, float]:
    """speakers.cost_over_transcription: seconds of the room's work for a clip, from samples to speakers, over those of
    a transcription of as much sound, in turns."""
    encoder = encoder_room.SpeakerEncoder(speaker_folder(MODEL_REPOSITORY))
    with tempfile.TemporaryDirectory() as name:
        size = "small" if quick else "0.6b"
        with Transcribing(Path(name), size, BLOCKS, quick=quick) as other:
            talk = meeting(2, 14, seed=1)
            pcm = talk.pcm[: other.seconds * RATE_HZ]
            spans = [[turn.start, turn.end] for turn in talk.turns if turn.end <= pcm.size]
            # Three words in each turn.
            words = [np.linspace(first, last, 7)[[0, 2, 2, 4, 4, 6]] for first, last in spans]
            own = {"room": lambda: _told(encoder, pcm, np.concatenate(words).astype(np.int32).reshape(-1, 2))}
            spent = in_turns({**other.steps, **own}, 2 if quick else 5, "cost")
    transcribed = sum(spent[step] for step in other.steps)
    return {
        "speakers.cost_over_transcription": float(np.median(spent["room"] / transcribed)),
        "speakers.cost_clip_s": other.seconds,
        **{f"speakers.{step}_s": float(np.median(one)) for step, one in spent.items()},
    }


def hour() -> dict[str, float]:
    """speakers.hour_state_kb: the state behind an hour's turns; speakers.hour_call_ms: what saying anew who is who
    takes at its end."""
    record = encoder_room.SpeakerEncoder(speaker_folder(MODEL_REPOSITORY)).record
    rng = np.random.default_rng(0)
    people = encoder_room.unit(rng.random((PEOPLE, 256), dtype=np.float32) ** 4)
    talk = conversation_room.Conversation(256)
    spent = []
    for _ in range(STRETCHES):
        turns = []
        for index in range(TURNS // STRETCHES):
            noisy = people[rng.integers(PEOPLE)] + 0.03 * rng.random(256, dtype=np.float32)
            turns.append(stretch_room.HeardTurn(index, index, encoder_room.unit(noisy), float(rng.uniform(0.5, 4))))
        started = time.perf_counter()
        talk = conversation_room.Conversation.from_bytes(talk.to_bytes().tobytes(), 256)
        talk.add(turns, clustering.Limits(), record)
        spent.append(time.perf_counter() - started)
    return {
        "speakers.hour_state_kb": talk.to_bytes().size / 1_000,
        "speakers.hour_call_ms": 1_000 * float(np.median(spent[-20:])),
        "speakers.hour_found": float(len(np.unique(talk.speakers()[:, 1]))),
    }


def _told(encoder: Any, pcm: Any, spans: Any) -> None:
    asking = stretch_room.turns_of(pcm, spans, encoder.record)
    windows = next(asking)
    try:
        while True:
            windows = asking.send(encoder.embed(windows))
    except StopIteration as stopped:
        talk = conversation_room.Conversation(encoder.width)
        talk.add(stopped.value, clustering.Limits(), encoder.record)
