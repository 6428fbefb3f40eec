"""The sessions of a server, without one: what is left of a session that is over."""

import gc
import threading
import time
import weakref

import numpy as np

from export.rooms import room
from tests.unit.asr_stream.stream_kit import parameters_room

runner_room = room("asr_stream", "runner")
settings_room = room("asr_stream", "settings")


class Responder:
    def __init__(self):
        self.closed = threading.Event()

    def send(self, event):
        pass

    def close(self, event=None):
        self.closed.set()

    def is_cancelled(self):
        return False


def beginning(responder):
    """A session's first request, with a tenth of a second of silence."""
    return runner_room.Asked(
        sequence=7,
        start=True,
        end=False,
        pcm=np.zeros(1_600, np.float32),
        settings=lambda before: before.changed({"vad": "off"}),
        command="",
        hold=True,
        canary=False,
        overlap=settings_room.Overlap(),
        responder=responder,
        refuse=print,
    )


def test_nothing_is_left_of_a_session_that_is_over_without_a_collector():
    """Each keeps the sound of an utterance: a server would hold that of hundreds until Python looks for circles."""
    runner = runner_room.Runner("127.0.0.1:1", parameters_room.Parameters(), None, 1, lambda *_: None)
    runner.start()
    gc.collect()
    gc.disable()
    try:
        responder = Responder()
        runner.accept(beginning(responder))
        deadline = time.monotonic() + 10
        while not runner._lines:
            assert time.monotonic() < deadline
            time.sleep(0.005)
        session = weakref.ref(runner._lines[7].session)
        assert session() is not None
        runner._loop.call_soon_threadsafe(runner._lines[7].task.cancel)
        assert responder.closed.wait(10)
        while session() is not None:
            assert time.monotonic() < deadline
            time.sleep(0.005)
    finally:
        gc.enable()
        runner.stop()
