"""A live session over the rooms' own code: every partial is what decoding its samples from the beginning gives."""

import asyncio
import itertools
import random

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from perf.models.local_rooms import LocalRooms
from tests.conftest import TINY
from tests.unit.asr_stream import stream_kit as kit
from tests.unit.asr_stream.stream_kit import Fed, silence


@pytest.fixture(scope="module")
def rooms():
    made = LocalRooms.of(TINY)
    yield made
    made.close()


@pytest.fixture(scope="module")
def offline(rooms):
    """What the samples say, decoded from their beginning."""
    known = {}

    def text(pcm):
        key = pcm.tobytes()
        if key not in known:
            known[key] = rooms._asr.transcribe([pcm])[0].text
        return known[key]

    return text


def sizes(seed, low=1, high=12_000):
    rng = random.Random(seed)
    return iter(lambda: rng.randint(low, high), None)


def changing(**settings):
    return lambda before: before.changed(settings)


def check_exact(events, pcm, offline):
    texts = [event for event in events if event["type"] in ("partial", "final")]
    for event in texts:
        assert event["text"] == offline(pcm[event["start_sample"] : event["end_sample"]]), event
    return texts


def check_order(events):
    """Every utterance begins, stops and has one final, in order; nothing overlaps; stable text only grows."""
    assert events[-1]["type"] == "closed"
    last_end = 0
    for number in sorted({event["utterance"] for event in events if "utterance" in event}):
        mine = [event for event in events if event.get("utterance") == number]
        kinds = [event["type"] for event in mine]
        assert kinds == ["speech_started", *["partial"] * (len(mine) - 3), "speech_stopped", "final"], kinds
        assert mine[0]["start_sample"] >= last_end
        last_end = mine[-1]["end_sample"]
        stable = ""
        for partial in mine[1:-2]:
            assert partial["stable"].startswith(stable)
            stable = partial["stable"]
        assert mine[-1]["revised"] == (not mine[-1]["text"].startswith(stable))


async def test_every_partial_and_final_is_exact(rooms, offline, english, chinese):
    pcm = np.concatenate([silence(0.7), english, silence(1.2, 1), chinese, silence(0.3, 2), english, silence(1, 3)])
    fed = Fed(rooms, partial_interval_ms=200)
    await fed.feed(pcm, sizes(1))
    events = await fed.end()
    check_order(events)
    texts = check_exact(events, pcm, offline)
    assert len(texts) > 20
    assert fed.of("final")[0]["text"] == "four two seven nine zero one five"
    assert any(partial["stable"] for partial in fed.of("partial"))


async def test_several_blocks_and_a_maximum_that_grows(rooms, offline, english):
    """The last part is much louder: blocks that were encoded under the old maximum have to be encoded again."""
    quiet = np.concatenate([english, english, english]) * np.float32(0.02)
    pcm = np.concatenate([quiet, english, english * np.float32(0.3), english])
    fed = Fed(rooms, vad="off", partial_interval_ms=700, debug=True)
    await fed.feed(pcm, sizes(2, 4_000, 20_000))
    events = await fed.end()
    texts = check_exact(events, pcm, offline)
    assert len(texts) > 15
    work = [event["meta"]["blocks_encoded"] for event in texts]
    assert max(work) > 1, "no block was encoded again"
    assert np.median(work) == 1
    assert len(fed.of("final")) == 1
    assert fed.of("final")[0]["end_sample"] == pcm.size


async def test_only_the_newest_block_is_worked_on(rooms, english):
    fed = Fed(rooms, vad="off", partial_interval_ms=500, debug=True, max_utterance_s=120)
    await fed.feed(np.tile(english, 10), itertools.repeat(8_000))
    events = await fed.end()
    late = [event["meta"] for event in events if event["type"] == "partial"][-20:]
    assert max(meta["blocks_encoded"] for meta in late) <= 2
    assert sum(meta["blocks_encoded"] for meta in late) <= 26


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 10_000))
async def test_any_chunks_give_exact_texts(rooms, offline, english, chinese, seed):
    rng = random.Random(seed)
    parts = [silence(rng.uniform(0.2, 1.5), seed)]
    for _ in range(3):
        clip = rng.choice([english, chinese])
        start = rng.randrange(clip.size // 2)
        parts += [
            clip[start : start + rng.randrange(8_000, clip.size)] * np.float32(rng.uniform(0.05, 1)),
            silence(rng.uniform(0.1, 1.5), seed + 1),
        ]
    pcm = np.concatenate(parts)
    fed = Fed(rooms, partial_interval_ms=rng.choice([100, 450]), silence_ms=rng.choice([200, 600]))
    await fed.feed(pcm, sizes(seed, 1, rng.choice([400, 4_000, 60_000])))
    events = await fed.end()
    check_order(events)
    check_exact(events, pcm, offline)


@pytest.mark.parametrize("changes", [{}, {"partial_interval_ms": 200}, {"silence_ms": 200}, {"vad": "off"}])
async def test_nothing_is_said_of_an_utterance_before_it_is_due(rooms, english, chinese, changes):
    pcm = np.concatenate([silence(0.5), english, silence(1.2), chinese, silence(0.3), english[:30_000], silence(1)])
    fed, due, num_checked = Fed(rooms, **changes), 0, 0
    for start in range(0, pcm.size, 160):
        told = len(fed.events)
        fed.session.push(pcm[start : start + 160])
        await fed.settle()
        for event in fed.events[told:]:
            if event["type"] in ("partial", "speech_stopped"):
                # Of a pause that has begun since, what may become the final is told as soon as it is known.
                is_ahead = event["type"] == "partial" and event["end_sample"] < due
                assert is_ahead or due <= start + 160, event
                num_checked += 1
            due = event.get("due_sample", 0)
    await fed.end()
    assert num_checked > 15


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"silence_ms": 500},
        {"silence_ms": 200, "prefix_padding_ms": 0},
        {"silence_ms": 64, "prefix_padding_ms": 100},
        {"partial_interval_ms": 1_000},
        {"partial_interval_ms": 1_000, "max_utterance_s": 2},
    ],
    ids=str,
)
async def test_what_is_sent_up_to_the_due_sample_is_said_in_time(rooms, english, chinese, changes):
    """As the frontend sends it: up to the due sample, and otherwise 150 ms together."""
    pieces = [silence(0.5), english, silence(1.2), chinese, silence(0.3), english[:30_000], silence(1.5)]
    pcm = np.concatenate(pieces)
    fed, due, start, num_stopped = Fed(rooms, **changes), 0, 0, 0
    padding, pause = fed.session.settings.padding, -(-fed.session.settings.silence // 512) * 512
    while start < pcm.size:
        end = due if start < due else start + 2_400
        told = len(fed.events)
        fed.session.push(pcm[start:end])
        await fed.settle()
        for event in fed.events[told:]:
            if event["type"] == "speech_stopped" and event["reason"] == "silence":
                ended = event["end_sample"] - min(padding, event["end_sample"]) + pause
                # What was kept behind the voice is cut where the samples end.
                assert min(end, pcm.size) - ended <= 2_400 + 3 * 512 or padding > pause, event
                num_stopped += 1
            if event["type"] == "speech_stopped" and event["reason"] == "max_utterance":
                assert min(end, pcm.size) - (event["start_sample"] + fed.session.settings.max_utterance) <= 2_400 + 512
            due = event.get("due_sample", 0 if event["type"] in ("speech_stopped", "final") else due)
        start = end
    await fed.end()
    assert num_stopped >= 2


async def test_single_samples_are_chunks_too(rooms, offline, english):
    pcm = english[8_000:24_000]
    fed = Fed(rooms, vad="off")
    for sample in pcm:
        fed.session.push(np.array([sample]))
    events = await fed.end()
    assert check_exact(events, pcm, offline)[-1]["end_sample"] == pcm.size


async def test_silence_costs_nothing_and_says_nothing(rooms):
    before = rooms.blocks_encoded
    fed = Fed(rooms)
    await fed.feed(silence(20), itertools.repeat(1_600))
    assert fed.session._buffer.end - fed.session._buffer.start < 16_000
    events = await fed.end()
    assert [event["type"] for event in events] == ["closed"]
    assert rooms.blocks_encoded == before


async def test_too_long_an_utterance_is_cut_without_losing_or_doubling(rooms, offline, english):
    pcm = np.concatenate([silence(0.3), np.tile(english[:60_000], 6), silence(1)])
    fed = Fed(rooms, max_utterance_s=8, silence_ms=2_000)
    await fed.feed(pcm, itertools.repeat(4_000))
    events = await fed.end()
    check_order(events)
    check_exact(events, pcm, offline)
    finals = fed.of("final")
    assert len(finals) >= 3
    for one, other in itertools.pairwise(finals):
        assert other["start_sample"] == one["end_sample"]
    assert fed.of("speech_stopped")[0]["reason"] == "max_utterance"
    words = " ".join(final["text"] for final in finals).split()
    assert words == ["four", "two", "seven", "nine", "zero", "one", "five"] * 6


async def test_flush_finishes_now_and_reset_forgets(rooms, offline, english):
    fed = Fed(rooms)
    await fed.feed(english[:40_000], itertools.repeat(1_600))
    fed.session.command("flush")
    await fed.settle()
    assert [event["type"] for event in fed.events[-3:]] == ["speech_stopped", "final", "flushed"]
    assert fed.of("final")[0]["text"]
    await fed.feed(english[40_000:54_000], itertools.repeat(1_600))
    fed.session.command("reset")
    await fed.settle()
    assert fed.events[-1]["type"] == "reset"
    events = await fed.end()
    assert len([event for event in events if event["type"] == "final"]) == 1
    check_exact(events, english, offline)


async def test_flush_hears_a_beginning_that_is_still_short(rooms, english):
    fed = Fed(rooms, min_speech_ms=2_000)
    await fed.feed(english[9_000:30_000], itertools.repeat(1_600))
    assert fed.events == []
    fed.session.command("flush")
    await fed.settle()
    assert [event["type"] for event in fed.events] == ["speech_started", "speech_stopped", "final", "flushed"]
    await fed.end()


async def test_settings_change_in_mid_session(rooms, english):
    fed = Fed(rooms)
    await fed.feed(english[:40_000], itertools.repeat(1_600))
    fed.session.command("settings", changing(language="zh", partial_interval_ms=100))
    await fed.feed(english[40_000:], itertools.repeat(1_600))
    events = await fed.end()
    languages = [event["language"] for event in events if event["type"] in ("partial", "final")]
    assert languages[0] == "English"
    assert languages[-1] == "Chinese"


async def test_what_was_silence_is_not_heard_when_the_detector_is_turned_off(rooms, offline, english):
    """Most of it is forgotten by then, and an utterance cannot begin in it."""
    fed = Fed(rooms)
    lead = silence(20.0)
    await fed.feed(lead, itertools.repeat(8_000))
    fed.session.command("settings", changing(vad="off"))
    await fed.feed(english, itertools.repeat(16_000))
    events = await fed.end()
    assert not fed.of("error")
    (final,) = fed.of("final")
    assert final["end_sample"] == lead.size + english.size
    check_exact(events, np.concatenate([lead, english]), offline)


async def test_an_unknown_language_ends_a_session_that_begins_with_it_and_no_other(rooms, english):
    fed = Fed(rooms, language="Klingon")
    events = await asyncio.wait_for(asyncio.gather(fed.task), 10) and fed.events
    assert [event["type"] for event in events] == ["error", "closed"]
    assert "unknown language" in events[0]["message"]
    assert events[0]["fatal"]
    with pytest.raises(kit.inbox_room.SessionEnded):
        fed.session.push(english)
    fed = Fed(rooms)
    fed.session.command("settings", changing(language="Klingon"))
    fed.session.command("settings", changing(language="Klingon", agreement=1))
    fed.session.command("settings", changing(partial_interval_ms=100))
    await fed.feed(english, itertools.repeat(8_000))
    events = await fed.end()
    assert [(event["type"], event["fatal"]) for event in events[:2]] == [("error", False)] * 2
    assert len(fed.of("error")) == 2, "a change that was refused was kept"
    held = fed.session.settings
    assert (held.language, held.agreement, held.partial_interval_ms) == ("", 2, 100)
    assert fed.of("final")[0]["language"] == "English"


async def test_an_idle_session_is_finished_and_closed(rooms, english):
    fed = Fed(rooms, limits={"idle_s": 0.3})
    fed.session.push(english[:40_000])
    await asyncio.wait_for(asyncio.gather(fed.task), 10)
    assert fed.events[-1] == {"type": "closed", "reason": "idle", "end": 2.5, "end_sample": 40_000}
    assert fed.of("final")[0]["text"]


async def test_too_much_waiting_audio_is_refused(rooms):
    fed = Fed(rooms, limits={"max_backlog_s": 2})
    for _ in range(4):
        fed.session.push(np.zeros(8_000, dtype=np.float32))
    with pytest.raises(ValueError, match="send no faster"):
        fed.session.push(np.zeros(8_000, dtype=np.float32))
    await fed.end()


class Failing:
    """Rooms of which one fails some times, as a model does that is started again."""

    def __init__(self, rooms, failures):
        self._rooms = rooms
        self.failures = failures

    def __getattr__(self, name):
        call = getattr(self._rooms, name)
        if not asyncio.iscoroutinefunction(call):
            return call

        async def maybe(*args, **kwargs):
            if self.failures.get(name, 0) > 0:
                self.failures[name] -= 1
                raise kit.rooms_room.RoomFailed(f"{name} is away")
            return await call(*args, **kwargs)

        return maybe


async def test_models_that_fail_for_a_while_lose_nothing(rooms, offline, english):
    failing = Failing(rooms, {"step": 3})
    fed = Fed(failing)
    await fed.feed(english, itertools.repeat(4_000))
    failing.failures["step"] = 2
    events = await fed.end()
    check_order(events)
    check_exact(events, english, offline)
    assert fed.of("final")[0]["text"] == "four two seven nine zero one five"


async def test_a_model_that_stays_away_costs_one_utterance_and_says_so(rooms, english):
    failing = Failing(rooms, {"step": 10**6})
    fed = Fed(failing, limits={"retry_s": 0.3})
    await fed.feed(english, itertools.repeat(8_000))
    fed.session.command("flush")
    await fed.settle()
    failing.failures["step"] = 0
    assert "the utterance is lost: step is away" in fed.of("error")[0]["message"]
    await fed.feed(english, itertools.repeat(8_000))
    await fed.end()
    assert [event["text"] for event in fed.of("final")] == ["four two seven nine zero one five"]


async def test_evicted_sessions_send_all_again(rooms, offline, english):
    """Other sequences take the whole KV cache between the steps of a stream of several blocks."""
    fed = Fed(rooms, vad="off", partial_interval_ms=1_000)
    pcm = np.tile(english, 5)
    for start in range(0, pcm.size, 16_000):
        fed.session.push(pcm[start : start + 16_000])
        await fed.settle()
        for name in list(rooms._asr.engine.scheduler.sessions._kept):
            rooms._asr.engine.end_session(name)
    events = await fed.end()
    assert len(check_exact(events, pcm, offline)) > 15


async def test_nothing_is_kept_after_the_end(rooms, english):
    fed = Fed(rooms, vad="off")
    await fed.feed(np.tile(english, 4), itertools.repeat(16_000))
    assert len(rooms._asr.engine.scheduler.sessions) == 1
    fed.task.cancel()
    await asyncio.gather(fed.task, return_exceptions=True)
    rooms._asr.transcribe([english])
    assert len(rooms._asr.engine.scheduler.sessions) == 0
    assert fed.events[-1]["reason"] == "cancelled"
