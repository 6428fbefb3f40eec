"""Parameters of rooms: their defaults, what a configuration names of them, and mistakes in it."""

import json
import subprocess
import sys

import pytest

from export.rooms import MODEL_REPOSITORY, room
from tests.conftest import ROOT

ROOMS = ("vad", "features", "encoder", "decoder", "asr_stream")
Parameters = room("decoder", "parameters").Parameters


def configuration(**parameters):
    return json.dumps({"parameters": {name: {"string_value": value} for name, value in parameters.items()}})


@pytest.mark.parametrize("name", ROOMS)
def test_without_parameters_all_are_their_defaults(name):
    kind = room(name, "parameters").Parameters
    assert kind.read("{}") == kind()


def test_what_is_named_is_read_as_what_it_is():
    read = Parameters.read(
        configuration(kv_cache_mb="512", num_threads="3", tf32="on", max_wait_s="1,2.5, 3", decode_batches="1,2")
    )
    assert (read.kv_cache_mb, read.num_threads, read.tf32) == ("512", 3, True)
    assert (read.max_wait_s, read.decode_batches) == ((1.0, 2.5, 3.0), (1, 2))
    assert Parameters.read(configuration(warm_up_seconds="")).warm_up_seconds == ()


def test_on_a_gpu_other_values_are_the_defaults_and_may_be_named_still():
    read = Parameters.read(configuration(device="cuda:1", max_running="32"))
    assert (read.cuda_graphs, read.max_step_tokens, read.max_running) == (True, 4096, 32)
    assert not Parameters.read(configuration(device="cpu")).cuda_graphs


def test_parameters_of_the_python_backend_are_its_own():
    assert Parameters.read(configuration(FORCE_CPU_ONLY_INPUT_TENSORS="no")) == Parameters()


@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        ("decoder", {"kv_cache_md": "256"}, "no parameter kv_cache_md; known are checkpoint, .*kv_cache_mb"),
        ("decoder", {"kv_cache_mb": "much"}, "kv_cache_mb is a number of MB, .*, not 'much'"),
        ("decoder", {"max_running": "1.5"}, "max_running must be a whole number"),
        ("decoder", {"max_running": "inf"}, "max_running must be a whole number"),
        ("decoder", {"max_running": "0"}, "max_running must be at least 1, not 0"),
        ("decoder", {"decode_batches": "4,0"}, "decode_batches must be at least 1, not 0"),
        ("decoder", {"max_step_ms": "nan"}, "max_step_ms must be at least 0, not nan"),
        ("decoder", {"dtype": "int4"}, "dtype must be auto, float32, bfloat16 or float16, not 'int4'"),
        ("decoder", {"tf32": "true"}, "tf32 must be on or off, not 'true'"),
        ("features", {"max_blocks": "65"}, "max_blocks must lie between 1 and 64, not 65"),
        ("vad", {"threshold": "2"}, "threshold must lie between 0.01 and 0.99, not 2"),
        ("asr_stream", {"fast_decoder": "decoder_fast"}, "fast_step and fast_decoder are named together"),
    ],
)
def test_a_mistake_is_said(name, parameters, message):
    with pytest.raises(ValueError, match=message):
        room(name, "parameters").Parameters.read(configuration(**parameters))


@pytest.mark.parametrize("name", ROOMS)
def test_every_parameter_can_be_looked_up(name):
    command = [sys.executable, "-m", "export", "settings", name]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    for parameter in room(name, "parameters").Parameters.__dataclass_fields__:
        assert f"\n{parameter}: " in f"\n{done.stdout}"


@pytest.mark.parametrize("name", ROOMS)
def test_tensors_are_declared_without_what_takes_long_to_import(name):
    """Triton does this in a process of its own before it loads the model."""
    code = (
        "import sys, types; sys.modules['triton_python_backend_utils'] = types.ModuleType('utils')\n"
        "from export.rooms import room\n"
        f"room({name!r}, 'model')\n"
        "print(*(set(sys.modules) & {'numpy', 'torch', 'onnxruntime', 'grpc', 'tokenizers'}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == ""


def test_the_rooms_share_one_way_to_declare():
    files = {(MODEL_REPOSITORY / name / "1" / "declaration.py").resolve() for name in ROOMS}
    assert files == {MODEL_REPOSITORY / "vad" / "1" / "declaration.py"}
