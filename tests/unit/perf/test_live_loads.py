"""Live loads: what is heard and how late, what is said and when, the clients' socket, whose processor time it was."""

import asyncio
import itertools
import os
import threading
import time

import numpy as np
import pytest
from websockets.asyncio.server import serve
from websockets.exceptions import InvalidStatus

from perf.live.processes import Thread, Used, part_of, used
from perf.loads.hearing import PADDING_S, SILENCE_S, Hearing, Streams, Turn, run_streams, speak
from perf.loads.load import Load
from perf.loads.mixed import Mixed
from perf.loads.socket import Socket
from perf.loads.turns import LONGEST_PAUSE_S, crowd_turns, talk_turns
from perf.speech.conversations import RATE_HZ


@pytest.fixture
def clock(monkeypatch):
    """Seconds, which the test moves."""
    now = [100.0]
    monkeypatch.setattr("perf.loads.hearing.time.monotonic", lambda: now[0])
    return now


def event(kind, start=0, end=0, text="", **more):
    return {"type": kind, "start_sample": start, "end_sample": end, "text": text, "revised": False, **more}


def test_texts_are_late_by_the_sound_that_they_cover(clock):
    found = Streams()
    hearing = Hearing(found)
    for _ in range(20):
        clock[0] += 0.1
        hearing.sent(1_600)
    assert hearing.heard(event("speech_started"))
    # Of the first second, whose last sample came a second ago; its first one 1.9 s ago.
    hearing.heard(event("partial", start=0, end=16_000, text="one"))
    assert found.partial == pytest.approx([1.0])
    assert found.first == pytest.approx([1.9])
    hearing.heard(event("partial", start=0, end=32_000, text="one two"))
    assert found.partial[1] == pytest.approx(0.0)
    assert len(found.first) == 1
    assert found.audio_seconds == pytest.approx(2.0)


def test_a_final_is_told_from_its_last_sample_and_from_the_end_of_its_pause(clock):
    found = Streams()
    hearing = Hearing(found)
    for _ in range(20):
        clock[0] += 0.1
        hearing.sent(1_600)
    hearing.heard(event("speech_started"))
    hearing.heard(event("speech_stopped", end=16_000, reason="silence"))
    clock[0] += 0.05
    hearing.heard(event("final", end=16_000, text="one"))
    assert found.final == pytest.approx([1.05])
    assert found.pause == pytest.approx([1.05 - (SILENCE_S - PADDING_S)])
    # One that the end of the session has cut off had no pause.
    hearing.heard(event("speech_started"))
    hearing.heard(event("speech_stopped", end=32_000, reason="end"))
    hearing.heard(event("final", end=32_000, text="two"))
    assert len(found.final) == 2
    assert len(found.pause) == 1
    assert found.dropped == 0
    assert not hearing.heard({"type": "closed"})


def test_runs_are_counted_together():
    one = Streams(2, partial=[0.1], spoken=2, final=[0.2], errors=["x"])
    one.add(Streams(2, partial=[0.3], spoken=1, audio_seconds=4.0))
    assert (one.streams, one.partial, one.spoken, one.dropped, one.audio_seconds) == (2, [0.1, 0.3], 3, 2, 4.0)
    assert one.row()["errors"] == 1


async def test_speech_is_sent_at_its_pace_and_in_its_turns():
    sent = []
    found = Streams()
    begin = time.monotonic()
    turns = [Turn(0.0, np.arange(2_000, dtype="<i2")), Turn(0.3, np.arange(100, dtype="<i2"))]
    await speak(turns, 800, begin, Hearing(found), lambda shorts: sent.append((time.monotonic() - begin, shorts)))
    assert [shorts.size for _, shorts in sent] == [800, 800, 400, 100]
    # Never before it was said.
    for (at_s, _), said_s in zip(sent, (0.05, 0.1, 0.125, 0.3 + 100 / RATE_HZ), strict=True):
        assert at_s >= said_s
    assert (np.concatenate([shorts for _, shorts in sent[:3]]) == turns[0].shorts).all()


async def test_all_streams_are_open_before_one_of_them_speaks():
    done = []

    class Recorded:
        opened = 0

        async def open(self):
            await asyncio.sleep(0.01)
            Recorded.opened += 1

        async def run(self, turns, begin):
            assert Recorded.opened == 3
            done.append((turns, begin))

    begun = []
    found = Streams()
    await run_streams([Recorded() for _ in range(3)], [[number] for number in range(3)], found, begun=begun.append)
    assert found.streams == 3
    assert [turns for turns, _ in done] == [[0], [1], [2]]
    assert [begin - begun[0] for _, begin in done] == pytest.approx([0, 1 / 3, 2 / 3])


def test_a_crowd_speaks_a_tenth_of_the_time_and_no_pause_ends_a_session():
    seconds = 300.0
    streams = crowd_turns(50, seconds, 0.1)
    shares = []
    for turns in streams:
        spans = [(turn.at_s, turn.at_s + turn.shorts.size / RATE_HZ) for turn in turns]
        assert all(end <= after for (_, end), (after, _) in itertools.pairwise(spans))
        assert all(after - end <= LONGEST_PAUSE_S + 1e-6 for (_, end), (after, _) in itertools.pairwise(spans))
        assert spans[-1][1] <= seconds
        shares.append(sum(end - start for start, end in spans) / seconds)
    assert np.mean(shares) == pytest.approx(0.1, rel=0.1)
    # They do not all begin together.
    assert len({turns[0].at_s for turns in streams}) == 50


def test_talk_is_as_long_as_it_is_asked_for():
    streams = talk_turns(10, 7.0)
    assert [turn.shorts.size for turns in streams for turn in turns] == [7 * RATE_HZ] * 10
    assert streams[0] is streams[8]


async def test_the_socket_speaks_to_a_websocket_server():
    async def echo(connection):
        async for message in connection:
            await connection.send(f"{len(message)} of {type(message).__name__}")
            if message == "end":
                # In parts.
                await connection.send(["la", "st"])
                return

    heard = []
    async with serve(echo, "127.0.0.1", 0, compression=None) as server:
        port = server.sockets[0].getsockname()[1]
        socket = Socket(f"ws://127.0.0.1:{port}/any", heard.append)
        await socket.open()
        socket.send(bytes(70_000))
        socket.send("end")
        await asyncio.wait_for(socket.closed, 10)
    assert heard == ["70000 of bytes", "3 of str", "last"]


async def test_a_socket_that_is_refused_says_why():
    async with serve(lambda _: None, "127.0.0.1", 0, process_request=lambda c, _: c.respond(503, "full")) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(InvalidStatus, match="503"):
            await Socket(f"ws://127.0.0.1:{port}/any", print).open()
    with pytest.raises(ConnectionRefusedError):
        await Socket(f"ws://127.0.0.1:{port}/any", print).open()


def test_processes_are_known_by_their_command_lines():
    stub = ["/x/triton_python_backend_stub", "/r/asr_stream/1/model.py", "shm", "1"]
    assert part_of(stub) == "asr_stream"
    assert part_of(["/x/bin/tritonserver", "--metrics-port=1"]) == "tritonserver"
    assert part_of(["/x/python", "-m", "frontend.workers.worker"]) == "frontend_worker"
    assert part_of(["/x/python", "-m", "frontend.triton.watcher"]) == "watcher"
    assert part_of(["/x/python", "-m", "frontend"]) == part_of([]) == "frontend"


def test_what_is_alone_is_an_interpreter_or_a_native_thread():
    before = Used({("decoder", 1): 1.0}, {Thread("decoder", 1, 1, "a"): 1.0}, 0.5)
    now = Used(
        {("decoder", 1): 5.0, ("tritonserver", 2): 4.0, ("vad", 3): 9.0, ("vad", 4): 1.0},
        {
            Thread("decoder", 1, 1, "a"): 4.0,
            Thread("tritonserver", 2, 2, "b"): 1.0,
            Thread("tritonserver", 2, 3, "c"): 2.5,
            Thread("vad", 3, 4, "d"): 9.0,
        },
        2.0,
    )
    spent = now.since(before)
    assert spent.parts == {"vad": 10.0, "tritonserver": 4.0, "decoder": 4.0}
    assert spent.counts["vad"] == 2
    # Of the decoder's four seconds, one and a half were the network's; nobody has one `vad` alone.
    assert spent.alone_s(("decoder", "watcher")) == {"decoder": 2.5, "tritonserver_thread": 2.5}
    assert [thread.part for thread, _ in spent.busiest(2)] == ["vad", "decoder"]


def test_processor_time_is_that_of_the_thread_that_took_it():
    me = os.getpid()
    stop = threading.Event()
    numbers = []

    def work():
        numbers.append(threading.get_native_id())
        while not stop.is_set():
            sum(range(1_000))

    busy = threading.Thread(target=work)
    before = used(me)
    busy.start()
    try:
        deadline = time.monotonic() + 60
        spent = used(me).since(before)
        while spent.busiest(1)[0][1] < 0.3 and time.monotonic() < deadline:
            time.sleep(0.05)
            spent = used(me).since(before)
    finally:
        stop.set()
        busy.join()
    assert spent.busiest(1)[0][0].number == numbers[0]
    assert sum(spent.parts.values()) >= 0.3


def test_mixed_figures_are_ratios_of_all_turns():
    alone, beside = Streams(2, partial=[0.1] * 10), Streams(2, partial=[0.2] * 10, spoken=1)
    found = Mixed(alone, beside, Load(audio_seconds=100, seconds=10), Load(audio_seconds=90, seconds=10))
    figures = found.figures("mixed.")
    assert figures["mixed.p50_ratio"] == pytest.approx(2.0)
    assert figures["mixed.p95_ratio"] == pytest.approx(2.0)
    assert figures["mixed.bulk_kept"] == pytest.approx(0.9)
    assert figures["mixed.lost_finals"] == 1
    # Of what was not heard nothing is told.
    assert "mixed.after_pause_p50_ms_alone" not in figures
