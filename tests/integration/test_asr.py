"""The ensemble over gRPC: what it hears, how it streams, and that nobody disturbs anybody."""

import asyncio
import json

import anyio
import numpy as np
import pytest

from export.local import LocalAsr
from perf.grpc_client import transcribe
from tests.conftest import TINY, WORDS
from tests.integration.asking import answer, text


async def test_transcribes_both_languages(client, english, chinese):
    _, heard = await answer(client, english)
    assert (heard["text"], heard["language"]) == ("four two seven nine zero one five", "English")
    _, heard = await answer(client, chinese)
    assert (heard["text"], heard["language"]) == ("三八零二六", "Chinese")


@pytest.mark.parametrize("speaker", ["george", "jackson", "lucas", "theo", "yweweler"])
async def test_transcribes_human_speech(client, human_digits, speaker):
    digits = [3, 1, 4, 1, 5, 9, 2]
    heard = (await text(client, human_digits(speaker, digits))).split()
    expected = [WORDS[d] for d in digits]
    # One speaker may have one digit misheard: the accuracy itself is measured elsewhere.
    assert sum(a == b for a, b in zip(heard, expected, strict=False)) >= 6


async def test_streams_text_that_adds_up(client, english):
    # Long enough that its text is not all of one moment, which would go out as one answer.
    deltas, result = await answer(client, np.concatenate([english] * 4))
    assert len(deltas) > 2, "text must come before the end"
    assert deltas[0].text
    assert "".join(delta.text for delta in deltas) == result["text"]
    assert [delta.result is not None for delta in deltas] == [False] * (len(deltas) - 1) + [True]
    ids = [token for delta in deltas for token in delta.token_ids]
    logprobs = [value for delta in deltas for value in delta.logprobs]
    assert len(ids) == len(logprobs) == result["usage"]["completion_tokens"]
    assert max(logprobs) <= 0
    # The header and the end are tokens, and no text.
    tokens = [token for delta in deltas for token in delta.tokens]
    assert len(tokens) == len(ids)
    assert b"".join(tokens).decode().strip() == result["text"]
    assert result["finish_reason"] == "stop"
    assert set(result["timings_ms"]) == {"queue", "prefill", "decode", "first_token", "total"}
    assert result["usage"]["total_tokens"] == result["usage"]["prompt_tokens"] + result["usage"]["completion_tokens"]


async def test_a_stream_tells_nothing_of_a_phrase_that_is_given_back(client, english):
    """Of two phrases the first words are said and the last one is not; one word is said otherwise."""
    whole = "four two seven nine zero one nine"
    phrases = [{"phrase": "nine zero two three", "weight": 2}, {"phrase": whole, "weight": 5}]
    parameters = {"hotwords": json.dumps(phrases)}
    deltas, result = await answer(client, english, parameters=parameters)
    assert result["hotwords"]["given_back"] > 0
    assert result["hotwords"]["kept"] == 1
    assert result["text"] == whole
    assert "".join(delta.text for delta in deltas) == result["text"]
    assert sum(len(delta.token_ids) for delta in deltas) == result["usage"]["completion_tokens"]


async def test_silence_is_empty_and_costs_no_tokens(client):
    deltas, result = await answer(client, np.zeros(48_000, dtype=np.float32))
    assert len(deltas) == 1
    assert (result["text"], result["language"]) == ("", None)
    assert result["usage"]["total_tokens"] == 0


async def test_without_vad_equals_the_same_code_in_one_process(client, english, chinese):
    rng = np.random.default_rng(3)
    clips = [english, chinese, english[:17_311], rng.standard_normal(30_000).astype(np.float32) * 0.02]
    with LocalAsr(TINY) as local:
        expected = local.transcribe(clips)
    for pcm, one in zip(clips, expected, strict=True):
        deltas, _ = await answer(client, pcm, parameters={"vad": "off"})
        assert [token for delta in deltas for token in delta.token_ids] == one.token_ids


async def test_a_forced_language_is_kept(client, english):
    _, result = await answer(client, english, language="zh")
    assert result["language"] == "Chinese"
    assert result["text"]
    assert not result["text"].isascii()


async def test_context_is_taken(client, english):
    _, plain = await answer(client, english)
    _, result = await answer(client, english, context="Qwen Triton")
    assert result["usage"]["prompt_tokens"] > plain["usage"]["prompt_tokens"]
    assert result["language"] == "English"


async def test_the_longest_answer_can_be_bounded(client, english):
    _, result = await answer(client, english, parameters={"max_new_tokens": 3})
    assert result["usage"]["completion_tokens"] == 3
    assert result["finish_reason"] == "length"


async def test_tritonclient_gets_the_same(triton, client, english):
    expected = await text(client, english)
    deltas = await asyncio.to_thread(lambda: list(transcribe(triton.url, english)))
    assert "".join(delta for delta, _ in deltas) == deltas[-1][1]["text"] == expected


def clips_of_many_lengths(english, chinese, count):
    """1 to 60 s of speech, pauses and noise."""
    rng = np.random.default_rng(0)
    clips = []
    for seconds in np.linspace(1, 60, count):
        parts, length = [], 0
        while length < seconds * 16_000:
            speech = (english, chinese)[rng.integers(2)]
            parts += [speech, np.zeros(rng.integers(16_000), dtype=np.float32)]
            length += parts[-1].size + speech.size
        pcm = np.concatenate(parts)[: int(seconds * 16_000)]
        clips.append(pcm + (rng.standard_normal(pcm.size) * 0.002).astype(np.float32))
    return clips


async def test_32_concurrent_clips_equal_one_by_one(client, english, chinese):
    clips = clips_of_many_lengths(english, chinese, 32)
    alone = [await text(client, pcm) for pcm in clips]
    together = await asyncio.gather(*(text(client, pcm) for pcm in clips))
    assert together == alone
    assert len(set(alone)) > 20


async def test_a_client_that_leaves_harms_nobody(client, english):
    async def leave():
        async for _ in client.transcribe(english, timeout_s=20):
            return

    with anyio.fail_after(60):
        results = await asyncio.gather(*(leave() if i % 2 else text(client, english) for i in range(16)))
    assert set(results[::2]) == {"four two seven nine zero one five"}
    # Nothing of those that left stands in the way.
    assert await text(client, english) == "four two seven nine zero one five"
