"""What live streams say, and when: all the time, or a tenth of it."""

from __future__ import annotations

import random

import numpy as np
from numpy.typing import NDArray

from perf.loads.hearing import Turn
from perf.speech.conversations import RATE_HZ, Conversation, conversation

VOICES = 8
# After an utterance of a crowd: the pause that ends it, and what the judgement of its windows may take.
TAIL_S = 1.0
# `asr_stream` ends a session without sound for `idle_s`, 30 seconds unless it is told otherwise.
LONGEST_PAUSE_S = 25.0


def as_shorts(pcm: NDArray[np.float32]) -> NDArray[np.int16]:
    return np.round(pcm * 32_767).astype("<i2")


def talk_turns(count: int, seconds: float, share: float = 1.0) -> list[list[Turn]]:
    """Of each of `count` streams, which speak all the time for so long."""
    talks = []
    for seed in range(min(count, VOICES)):
        pcm = conversation(max(2, int(seconds / 3)), 1_000 + seed).pcm
        pcm = np.tile(pcm, -(-int(seconds * RATE_HZ) // pcm.size))[: int(seconds * RATE_HZ)]
        talks.append([Turn(0.0, as_shorts(pcm))])
    return [talks[number % len(talks)] for number in range(count)]


def crowd_turns(count: int, seconds: float, share: float) -> list[list[Turn]]:
    """Of each of `count` streams, which send one utterance and the pause after it, then nothing, as a muted microphone
    does, so that sound is sent in `share` of the time: at moments of their own, and for so long."""
    said = [cut for seed in range(VOICES) for cut in _utterances(conversation(12, 2_000 + seed))]
    # Long ones would need longer pauses than a session outlives.
    said = [one for one in said if _period_s(one, share) - one.size / RATE_HZ < LONGEST_PAUSE_S] or said
    rng = random.Random(0)
    turns = []
    for _ in range(count):
        mine: list[Turn] = []
        shorts = rng.choice(said)
        at_s = rng.uniform(0, _period_s(shorts, share))
        while at_s + shorts.size / RATE_HZ <= seconds:
            mine.append(Turn(at_s, shorts))
            at_s += min(_period_s(shorts, share), shorts.size / RATE_HZ + LONGEST_PAUSE_S)
            shorts = rng.choice(said)
        turns.append(mine)
    return turns


def _period_s(shorts: NDArray[np.int16], share: float) -> float:
    return shorts.size / RATE_HZ / share


def _utterances(talk: Conversation) -> list[NDArray[np.int16]]:
    """Each with the silence around it."""
    tail, lead = int(TAIL_S * RATE_HZ), int(0.2 * RATE_HZ)
    return [as_shorts(talk.pcm[max(0, said.start - lead) : said.end + tail]) for said in talk.utterances]
