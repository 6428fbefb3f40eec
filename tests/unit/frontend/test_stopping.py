"""The embedded Triton's end: waited for as long as Triton itself waits for something."""

import asyncio
import sys

import pytest

from frontend.settings import Settings
from frontend.triton.process import EmbeddedTriton

# A server that says the word when it is told to end, and then does or does not.
SERVER = """
import signal, sys, time
def told(*_):
    print(sys.argv[1], flush=True)
    time.sleep(float(sys.argv[2]))
    sys.exit(1)
signal.signal(signal.SIGTERM, told)
print("ready", flush=True)
time.sleep(600)
"""


class Server(EmbeddedTriton):
    def __init__(self, settings, words, seconds):
        super().__init__(settings, models=())
        self.words, self.seconds = words, seconds

    def command(self):
        return [sys.executable, "-c", SERVER, self.words, str(self.seconds)]

    async def _until_ready(self):
        while "ready" not in self.log_path.read_text():
            await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    ("words", "seconds", "timeout_s", "is_late"),
    [
        ("All models are stopped", 0, 60, False),
        # As Triton 2.51 does where a client has vanished in the middle of a sequence: it says so, and hangs.
        ("failed to stop server: Internal - Exit timeout expired. Exiting immediately.", 600, 60, False),
        ("Timeout 4: Found 1 model versions that have in-flight inferences", 600, 0.3, True),
    ],
)
async def test_a_server_that_waits_for_nothing_is_not_waited_for(tmp_path, caplog, words, seconds, timeout_s, is_late):
    settings = Settings(cache_dir=tmp_path, triton_grpc_port=0, triton_stop_timeout_s=timeout_s)
    triton = Server(settings, words, seconds)
    await asyncio.wait_for(triton.start(), 30)
    await asyncio.wait_for(triton.stop(), 30)
    assert not triton.is_running()
    assert words in triton.log_path.read_text()
    assert ("did not stop in time" in caplog.text) == is_late
