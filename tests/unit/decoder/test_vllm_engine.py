"""Requests through the engine around vLLM: their tokens, order, bounds and ends."""

import threading
import time

import pytest
import torch

from tests.unit.decoder import engine_kit as kit
from tests.unit.decoder import vllm_kit
from tests.unit.decoder.vllm_kit import END, TABLE, Script, hold, make_engine, release


def wait_until(condition, timeout_s=20.0):
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.fixture
def script():
    return Script()


@pytest.fixture
def made(script):
    engine = make_engine(script)
    yield engine
    engine.stop()


def test_a_prompt_is_its_tokens_embeddings_around_the_audio(made, script):
    one = kit.make_sequence(1, 20, max_new_tokens=30, min_new_tokens=2)
    assert kit.run(made, [one]) == [[7, 8, 9]]
    _, rows, sampling, level = script.asked[0]
    prompt = one.prompt
    assert torch.equal(rows, torch.cat([TABLE[prompt.before], prompt.audio, TABLE[prompt.after]]))
    assert level == 2
    assert (sampling["max_tokens"], sampling["min_tokens"], sampling["stop_token_ids"]) == (30, 2, [END])
    assert (sampling["temperature"], sampling["seed"]) == (0.0, None)
    assert one.finish_reason == "stop"
    assert one.listener.logprobs == [-0.5] * 3


def test_a_draft_changes_nothing_and_counts_for_nothing(made, script):
    one = kit.make_sequence(1, draft=[7, 8, 50])
    assert kit.run(made, [one]) == [[7, 8, 9]]
    assert (one.num_drafted, one.num_accepted) == (0, 0)


@pytest.mark.parametrize(
    ("temperature", "seed", "expected"),
    [(0.7, 5, (0.7, 5)), (0.7, -1, (0.7, 2**63 - 1)), (1e-9, 5, (0.0, None))],
)
def test_temperature_and_seed_are_vllms(temperature, seed, expected):
    params = kit.sampling.SamplingParams(10, temperature, seed)
    told = vllm_kit.prompts.sampling_arguments(params, [END])
    assert (told["temperature"], told["seed"]) == expected


def test_an_answer_ends_at_its_bound_and_vllm_is_told():
    script = Script(lambda _: [3] * 100)
    made = make_engine(script)
    one = kit.make_sequence(1, max_new_tokens=5)
    assert kit.run(made, [one]) == [[3] * 5]
    assert one.finish_reason == "length"
    wait_until(lambda: script.closed_early == [str(one.number)])
    made.stop()


def test_a_loop_is_ended_and_its_copies_are_not_told():
    made = make_engine(Script(lambda _: [3, 4] * 100))
    one = kit.make_sequence(1, 13, max_new_tokens=200, repetition_guard=True)
    assert kit.run(made, [one]) == [[3, 4] * 3]
    assert one.finish_reason == "repetition"
    made.stop()


def test_what_it_cannot_do_is_refused_in_words(made, script):
    with pytest.raises(ValueError, match="hotwords are not to be had of the engine vllm"):
        made.submit(kit.make_sequence(1, phrases=[kit.hotwords.Phrase(0, (3,), 1.0, anywhere=True, bare=True)]))
    with pytest.raises(ValueError, match="needs 1028 tokens of KV cache; a sequence has 1000"):
        made.submit(kit.make_sequence(1, max_new_tokens=1_000))
    assert script.asked == []


def test_more_than_vllm_runs_wait_here_by_priority_then_age():
    script = Script()
    made = make_engine(script, max_running=1)
    hold(made, script)
    # One runs, and one is the spare that takes its place in the next step.
    first = [kit.make_sequence(seed, priority=3) for seed in range(2)]
    rest = [kit.make_sequence(10 + place, priority=level) for place, level in enumerate((3, 2, 1, 2))]
    for one in [*first, *rest]:
        made.submit(one)
    wait_until(lambda: len(script.asked) == 2 and sum(made.figures().waiting.values()) == 4)
    assert made.figures().running == {3: 2}
    assert made.figures().waiting == {1: 1, 2: 2, 3: 1}
    release(made, script)
    for one in [*first, *rest]:
        assert one.listener.done.wait(20)
    assert [int(name) for name, *_ in script.asked[2:]] == [rest[place].number for place in (2, 1, 3, 0)]
    assert [level for *_, level in script.asked] == [3, 3, 1, 2, 2, 3]
    made.stop()


def test_who_has_waited_too_long_goes_first():
    script = Script()
    made = make_engine(script, max_running=1, aging_s=0.0)
    hold(made, script)
    sequences = [kit.make_sequence(seed, priority=level) for seed, level in enumerate((1, 1, 1, 3))]
    for one in sequences:
        made.submit(one)
    wait_until(lambda: sum(made.figures().waiting.values()) == 2)
    release(made, script)
    for one in sequences:
        assert one.listener.done.wait(20)
    assert [level for *_, level in script.asked] == [1, 1, 0, 1]
    made.stop()


def test_beyond_its_places_a_level_is_refused_and_a_turn_that_comes_too_late_as_well():
    script = Script()
    made = make_engine(script, max_running=1, places={2: 2}, patience={2: 0.05})
    hold(made, script)
    sequences = [kit.make_sequence(seed) for seed in range(3)]
    for one in sequences:
        made.submit(one)
    with pytest.raises(kit.waiting_room.RoomFull, match="UNAVAILABLE: 3 requests of priority 2 are here"):
        made.submit(kit.make_sequence(9))
    assert sequences[2].listener.done.wait(20)
    assert "UNAVAILABLE: no place within 0.05 s" in sequences[2].listener.error
    release(made, script)
    assert all(one.listener.done.wait(20) for one in sequences[:2])
    assert made.figures().counters["refused_requests"] == 2
    made.submit(kit.make_sequence(10))
    made.stop()


def test_cancelled_requests_free_their_places_wherever_they_are():
    script = Script()
    made = make_engine(script, max_running=1)
    hold(made, script)
    made.cancel("early")
    running, spare, waiting, gone, early, last = (kit.make_sequence(seed) for seed in range(6))
    early.request_id = "early"
    gone.listener.is_cancelled = lambda: True
    for one in (running, spare, waiting, gone, early):
        made.submit(one)
    made.cancel(running.request_id)
    made.cancel(waiting.request_id)
    for one in (running, waiting, gone, early):
        assert one.listener.done.wait(20)
        assert one.listener.finished.finish_reason == "cancelled"
    release(made, script)
    made.submit(last)
    assert spare.listener.done.wait(20)
    assert last.listener.done.wait(20)
    assert last.listener.ids == spare.listener.ids == [7, 8, 9]
    # It was never asked for, nor is its name kept.
    assert str(early.number) not in [name for name, *_ in script.asked]
    assert made._cancelled == {}
    wait_until(lambda: not made.progress().working)
    assert made.room._inside == {2: 0}
    made.stop()


def test_one_that_is_cancelled_before_vllm_was_asked_for_it_frees_its_place(made, script):
    one = kit.make_sequence(1)
    made.room.enter(2)
    # Both within one turn of the loop, in which no task begins.
    made._loop.call(lambda: (made._arrive(one), made._cancel(one.request_id)))
    assert one.listener.done.wait(20)
    wait_until(lambda: not made.progress().working)
    assert script.asked == []
    assert made.room._inside == {2: 0}


def session(name="s", cached=0, keep=0):
    return kit.sessions.SessionRequest(name, cached, keep)


def test_blocks_that_a_session_leaves_out_are_taken_from_what_it_sent_before(made, script):
    kit.run(made, [kit.make_sequence(1, 20, session=session(keep=10))])
    assert made.figures().sessions == 1
    kit.run(made, [kit.make_sequence(1, 30, session=session(cached=10, keep=20))])
    kit.run(made, [kit.make_sequence(1, 40, session=session(cached=20))])
    whole = kit.make_sequence(1, 40)
    kit.run(made, [whole])
    assert torch.equal(script.asked[2][1], script.asked[3][1])
    assert made.figures().sessions == 0


@pytest.mark.parametrize("left_out", [11, 10])
def test_blocks_that_are_not_here_are_asked_for_again(made, script, left_out):
    kit.run(made, [kit.make_sequence(1, 20, session=session(keep=10))])
    one = kit.make_sequence(1, 30, session=session(cached=left_out))
    if left_out == 10:
        # The context has changed since.
        one.prompt.before[0] = 89 - one.prompt.before[0]
    assert kit.run(made, [one]) == [[]]
    assert one.finish_reason == "evicted"
    assert len(script.asked) == 1


def test_sessions_give_way_beyond_their_bound_the_least_urgent_first():
    made = make_engine(Script(), most_bytes=2 * 10 * 48 * 4)
    for seed, level in ((1, 1), (2, 3), (3, 1)):
        one = kit.make_sequence(seed, 20, priority=level, session=session(f"s{seed}", keep=10))
        kit.run(made, [one])
    figures = made.figures()
    assert (figures.sessions, figures.counters["evicted_sessions"]) == (2, 1)
    made.end_session("s1")
    for seed, reason in ((1, "evicted"), (2, "evicted"), (3, "stop")):
        one = kit.make_sequence(seed, 20, session=session(f"s{seed}", cached=10))
        kit.run(made, [one])
        assert one.finish_reason == reason
    made.stop()


def test_where_vllm_is_lost_everybody_is_told_and_then_whoever_ends_the_process(made, script):
    broken = threading.Event()
    made.on_broken = broken.set
    hold(made, script)
    sequences = [kit.make_sequence(seed) for seed in range(12)]
    for one in sequences:
        made.submit(one)
    wait_until(lambda: len(script.asked) == 9)
    script.lost = True
    assert broken.wait(20)
    for one in sequences:
        assert one.listener.done.is_set()
        assert "is not ready: it cannot compute any more" in one.listener.error
    with pytest.raises(kit.engine.EngineStopped, match="is not ready"):
        made.submit(kit.make_sequence(99))


def test_a_request_that_fails_is_its_own_and_many_in_a_row_are_vllms():
    def say(number):
        if number < 20:
            raise ArithmeticError("no numbers")
        return [7, END]

    made = make_engine(Script(say), max_running=1)
    broken = threading.Event()
    made.on_broken = broken.set
    for seed in range(vllm_kit.engine.MOST_IN_A_ROW):
        assert not broken.is_set()
        one = kit.make_sequence(seed)
        made.submit(one)
        assert one.listener.done.wait(20)
        assert one.listener.error == "the decoder failed: no numbers"
    assert broken.wait(20)
    made.stop()


def test_what_it_counts_and_how_it_gets_on(made, script):
    hold(made, script)
    one = kit.make_sequence(1)
    made.submit(one)
    wait_until(lambda: made.progress().step_s > 0.02)
    assert made.progress().working
    assert made.figures().kv_tokens == 5
    release(made, script)
    assert one.listener.done.wait(20)
    wait_until(lambda: not made.progress().working)
    assert made.progress().step_s == 0.0
    assert 0.02 < made.progress().longest_step_s < 20
    figures = made.figures()
    assert figures.counters["generated_tokens"] == 3
    assert figures.counters["computed_tokens"] == 40
    assert figures.kv_tokens == 0


def test_stopped_it_tells_who_is_left(script):
    made = make_engine(script)
    hold(made, script)
    one = kit.make_sequence(1)
    made.submit(one)
    wait_until(lambda: len(script.asked) == 1)
    made.stop()
    assert one.listener.error == "the decoder is stopping"
    with pytest.raises(kit.engine.EngineStopped):
        made.submit(kit.make_sequence(2))


def test_a_request_that_comes_as_it_stops_is_refused_and_leaves_its_place(script, monkeypatch):
    made = make_engine(script, max_running=1, places={2: 0})
    enter = kit.stop_as_it_submits(made, monkeypatch)
    with pytest.raises(kit.engine.EngineStopped, match="the decoder is stopping"):
        made.submit(kit.make_sequence(1))
    enter(2)
