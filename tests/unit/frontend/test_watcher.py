"""What an answer says of the model that should have given it."""

import json
import time
from types import SimpleNamespace

import pytest
from tritonclient.grpc import service_pb2

from frontend.triton import probes
from frontend.triton.client import TritonRefused, TritonUnavailable, refused
from frontend.triton.probes import Answer, judged, kind_of
from frontend.triton.status import QUIET_S, Status
from frontend.triton.watching import trouble_of


@pytest.mark.parametrize(
    ("message", "answer"),
    [
        ("Stub process 'decoder_0_0' is not healthy.", Answer.LOST),
        ("in ensemble 'asr', Request for unknown model: 'vad' is not found", Answer.LOST),
        ("this server holds 512 live sessions: try again later", Answer.ALIVE),
        ("INVALID_ARGUMENT: the context is not ready", Answer.ALIVE),
        ("the decoder failed: out of memory", Answer.FAILED),
        ("CUDA error: an illegal memory access was encountered", Answer.FAILED),
        ("Failed to increase the shared memory pool for key: No space left on device", Answer.FAILED),
    ],
)
def test_an_error_was_given_by_somebody_unless_it_says_otherwise(message, answer):
    assert judged(message) is answer


def test_a_lost_model_is_no_refusal():
    assert isinstance(refused("in ensemble 'asr', Stub process 'vad_0_0' is not healthy."), TritonUnavailable)
    busy = refused("2 requests wait: try again later")
    assert isinstance(busy, TritonRefused)
    assert busy.busy
    invalid = refused("INVALID_ARGUMENT: the language is not found")
    assert isinstance(invalid, TritonRefused)
    assert invalid.invalid


def test_a_small_checkpoints_room_is_asked_like_the_other():
    assert kind_of("encoder_fast") == "encoder"
    assert kind_of("asr_stream") == "asr_stream"


def test_a_watchers_state_is_told_as_long_as_it_looks(tmp_path):
    status, watcher = Status(tmp_path), SimpleNamespace(forbidden="", unhealthy={})
    assert "no watcher has written" in status.trouble()
    status.write(trouble_of(watcher))
    assert status.trouble() == ""
    watcher.unhealthy = {"asr": "it is not loaded"}
    status.write(trouble_of(watcher))
    assert status.trouble() == "asr: it is not loaded"
    watcher.forbidden = "the secret is another one"
    status.write(trouble_of(watcher))
    assert status.trouble() == "the secret is another one"
    (tmp_path / "watcher.json").write_text(json.dumps({"at": time.monotonic() - QUIET_S - 1, "trouble": ""}))
    assert "has not looked for" in status.trouble()


@pytest.mark.parametrize(
    ("engine", "answer"),
    [
        (None, Answer.ALIVE),
        ({"working": False, "step_s": 0.0, "longest_step_s": 1.0}, Answer.ALIVE),
        ({"working": True, "step_s": 0.0, "longest_step_s": 0.0}, Answer.WORKING),
        ({"working": True, "step_s": 29.0, "longest_step_s": 0.1}, Answer.WORKING),
        ({"working": True, "step_s": 31.0, "longest_step_s": 0.1}, Answer.STALLED),
        # A true-size model on a slow processor.
        ({"working": True, "step_s": 100.0, "longest_step_s": 20.0}, Answer.WORKING),
        ({"working": True, "step_s": 201.0, "longest_step_s": 20.0}, Answer.STALLED),
    ],
)
async def test_a_decoder_stands_still_by_what_its_steps_take(engine, answer):
    result = json.dumps({"text": "", **({"engine": engine} if engine else {})}).encode()
    response = service_pb2.ModelInferResponse(outputs=[{"name": "FINAL"}, {"name": "RESULT"}])
    response.raw_output_contents.extend([b"\1", len(result).to_bytes(4, "little") + result])

    class Call:
        async def __aiter__(self):
            yield service_pb2.ModelStreamInferResponse(infer_response=response)

        async def code(self):
            return None

        def cancel(self):
            pass

    class Stub:
        def ModelStreamInfer(self, requests, timeout):
            return Call()

    assert await probes.probe(Stub(), "decoder", 1.0, 30.0) is answer
