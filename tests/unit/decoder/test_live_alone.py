"""Steps of live sequences leave files out, for a while."""

import threading
import time

from tests.unit.decoder import engine_kit as kit

FOR_EVER_S = 1e9


def scheduler(**limits):
    return kit.scheduler.Scheduler(kit.scheduler.SchedulerLimits(**limits), kit.cache())


def taking_part(made):
    """The sequences of the next step."""
    return [chunk.sequence for chunk in made.schedule()]


def test_files_take_no_part_in_the_steps_of_live_sequences():
    made = scheduler(live_alone_s=FOR_EVER_S)
    files = [kit.make_sequence(seed, priority=priority) for seed, priority in ((1, 2), (2, 3))]
    for one in files:
        made.add(one)
    assert taking_part(made) == files
    live = [kit.make_sequence(seed, priority=1) for seed in (3, 4)]
    for one in live:
        made.add(one)
    assert taking_part(made) == live
    assert set(made.running) == {*files, *live}
    for one in live:
        made.remove(one)
    assert taking_part(made) == files


def test_a_live_sequence_that_has_nothing_to_compute_keeps_nobody_out():
    made = scheduler(live_alone_s=FOR_EVER_S)
    file, live = kit.make_sequence(1), kit.make_sequence(2, priority=1, max_new_tokens=1)
    made.add(file)
    made.add(live)
    assert taking_part(made) == [live]
    # Its only token is on its way.
    live.ahead = 0
    assert taking_part(made) == [file]


def test_files_that_have_waited_long_enough_have_a_step():
    made = scheduler(live_alone_s=50.0)
    file, live = kit.make_sequence(1), kit.make_sequence(2, priority=1)
    made.add(file)
    assert taking_part(made) == [file]
    made.add(live)
    made._all_took_part -= 49.0
    assert taking_part(made) == [live]
    made._all_took_part -= 1.0
    assert set(taking_part(made)) == {file, live}
    assert taking_part(made) == [live]


def test_in_their_turn_files_have_a_tenth_of_the_time_that_they_waited():
    made = scheduler(live_alone_s=50.0, live_step_tokens=8, max_step_tokens=512)
    for rows in (1, 100, 1, 100):
        made.pace.observe(rows, 0.05 * rows)
    file, live = kit.make_sequence(1, num_audio=300), kit.make_sequence(2, priority=1)
    made.add(file)
    made.add(live)
    made._all_took_part = time.monotonic() - 100.0
    rows = {chunk.sequence: chunk.length for chunk in made.schedule()}
    # Five seconds of it.
    assert 90 <= rows[file] <= 110
    assert rows[live] == len(live.prompt)


def test_steps_of_files_are_short_while_a_stream_goes_on_and_not_for_a_watchers_question():
    made = scheduler(live_step_s=2.5, max_step_s=1e3, max_step_tokens=512)
    for rows in (1, 100, 1, 100):
        made.pace.observe(rows, 0.05 * rows)

    def rows_after(live):
        made.add(live)
        made.schedule()
        made.remove(live)
        file = kit.make_sequence(2, num_audio=300)
        made.add(file)
        (chunk,) = made.schedule()
        made.remove(file)
        return chunk.length

    assert rows_after(kit.make_sequence(1, priority=1)) > 300
    assert 45 <= rows_after(kit.make_sequence(1, priority=1, draft=[1, 2])) <= 55


def test_one_that_has_risen_takes_part():
    made = scheduler(live_alone_s=FOR_EVER_S, max_running=2, aging_s=0.0)
    files = [kit.make_sequence(seed, priority=3) for seed in (1, 2)]
    made.add(files[0])
    made.add(files[1])
    made.schedule()
    live = kit.make_sequence(3, priority=1)
    made._risen = files[1]
    made.running.append(live)
    live.extent = made.extents.allocate(live.max_tokens)
    assert set(taking_part(made)) == {files[1], live}


def test_files_have_their_answers_beside_live_sequences_without_a_pause():
    made = kit.make_engine(max_running=8, live_alone_s=0.02)
    expected = kit.run(made, [kit.make_sequence(seed, max_new_tokens=30, priority=3) for seed in range(3)])
    stop = threading.Event()

    def flood():
        while not stop.is_set():
            live = kit.make_sequence(50, max_new_tokens=200, min_new_tokens=200, priority=1)
            made.submit(live)
            live.listener.done.wait(30)

    # One of them always computes.
    flooding = [threading.Thread(target=flood) for _ in range(3)]
    for one in flooding:
        one.start()
    try:
        time.sleep(0.1)
        files = [kit.make_sequence(seed, max_new_tokens=30, priority=3) for seed in range(3)]
        assert kit.run(made, files) == expected
    finally:
        stop.set()
        for one in flooding:
            one.join()
        made.stop()
