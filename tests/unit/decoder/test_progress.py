"""An engine that stands still is told from one that is slow."""

import threading
import time

from tests.unit.decoder import engine_kit as kit


def test_a_step_that_does_not_end_shows_and_one_that_has_ended_is_remembered():
    made = kit.make_engine()
    kit.run(made, [kit.make_sequence(1, 20)])
    # The step that gave the last token ends a little later.
    deadline = time.monotonic() + 30
    while (idle := made.progress()).working:
        assert time.monotonic() < deadline
        time.sleep(0.001)
    assert idle.step_s == 0.0
    assert 0.0 < idle.longest_step_s < 10.0
    began, may_end = threading.Event(), threading.Event()
    forward = made.network.forward

    def stands_still(*arguments):
        began.set()
        assert may_end.wait(30)
        return forward(*arguments)

    made.network.forward = stands_still
    one = kit.make_sequence(2, 20)
    made.submit(one)
    assert began.wait(30)
    first, second = made.progress(), made.progress()
    assert first.working
    assert 0.0 < first.step_s < second.step_s
    assert second.longest_step_s == idle.longest_step_s
    may_end.set()
    assert one.listener.done.wait(30)
    made.stop()
    assert made.progress().longest_step_s >= second.step_s
    assert not made.progress().working


def test_the_processor_time_of_the_networks_is_a_part_of_the_engines():
    made = kit.make_engine(draft_seed=3)
    kit.run(made, [kit.make_sequence(1, 20)])
    plain_s = made.network_cpu_seconds
    kit.run(made, [kit.make_sequence(1, 20, drafted=True)])
    engine_s = time.clock_gettime(time.pthread_getcpuclockid(made._thread.ident))
    assert 0.0 < plain_s < made.network_cpu_seconds < engine_s
    assert 0.0 < made.speculator.cpu_seconds < made.network_cpu_seconds
    made.stop()
