"""What an answer says of the model that should have given it."""

import json
import time

import pytest

from frontend.triton.client import TritonRefused, TritonUnavailable, refused
from frontend.triton.probes import Answer, judged, kind_of
from frontend.triton.watcher import Watcher
from frontend.triton.watching import QUIET_S, Status


@pytest.mark.parametrize(
    ("message", "answer"),
    [
        ("Stub process 'decoder_0_0' is not healthy.", Answer.LOST),
        ("in ensemble 'asr', Request for unknown model: 'vad' is not found", Answer.LOST),
        ("this server holds 512 live sessions: try again later", Answer.ALIVE),
        ("INVALID_ARGUMENT: the context is not ready", Answer.ALIVE),
        ("the decoder failed: out of memory", Answer.ALIVE),
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


class Nobody:
    """A client that is not asked anything."""

    stub = None


def test_a_watchers_state_is_told_as_long_as_it_looks(tmp_path):
    status, watcher = Status(tmp_path), Watcher(Nobody())
    assert "no watcher has written" in status.trouble()
    status.write(watcher)
    assert status.trouble() == ""
    watcher.unhealthy = {"asr": "it is not loaded"}
    status.write(watcher)
    assert status.trouble() == "asr: it is not loaded"
    watcher.forbidden = "the secret is another one"
    status.write(watcher)
    assert status.trouble() == "the secret is another one"
    (tmp_path / "watcher.json").write_text(json.dumps({"at": time.monotonic() - QUIET_S - 1, "trouble": ""}))
    assert "has not looked for" in status.trouble()
