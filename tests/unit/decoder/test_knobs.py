"""Every setting for precision and speed: it works, or it says why it cannot."""

import json
import re
import shutil
import time
from pathlib import Path

import pytest
import torch

from export.rooms import room
from tests.conftest import ROOT
from tests.unit.decoder import engine_kit as kit

build_room, warm_up_room = (room("decoder", name) for name in ("serving.build", "serving.warm_up"))
quantization = room("decoder", "network.quantization")
Parameters = room("decoder", "parameters").Parameters
TINY = ROOT / "export" / "tiny" / "tiny"


def built(**parameters):
    parameters = Parameters.from_texts({"checkpoint": str(TINY), "num_threads": "1", **parameters})
    made = build_room.build(parameters, Path("/"))
    made.engine.start()
    return made


def test_the_summary_says_how_many_sequences_the_cache_holds():
    made = built()
    said = r"^float32 on cpu; KV cache of \d{5,} tokens \(\d+ s of audio, \d+ MB\): holds \d+ sequences of 30 s"
    assert re.search(said, made.summary)
    made.engine.stop()


def test_warm_up_answers_requests_and_learns_the_pace():
    made = built()
    assert warm_up_room.warm_up(made.engine, made.table, [1.0, 4.0]) > 0
    assert made.engine.stats.generated_tokens == 2 * (3 + 12)
    assert made.engine.scheduler.pace.rows_within(10.0, 512) == 512
    assert made.engine.scheduler.pace.rows_within(1e-6, 512) == 16
    made.engine.stop()


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"dtype": "int4"}, "dtype must be auto, float32, bfloat16 or float16"),
        ({"quantization": "int3"}, "quantization must be none, int8 or fp8"),
        ({"quantization": "fp8"}, "needs a CUDA device of compute capability 8.9"),
        ({"cuda_graphs": "on"}, "cuda_graphs needs a CUDA device"),
        ({"torch_compile": "yes"}, "torch_compile must be on or off"),
        ({"max_waiting": "256,1024"}, "one value for each priority"),
        ({"kv_cache_mb": "1"}, "one sequence of 30 s needs"),
        ({"draft_checkpoint": str(TINY), "draft_tokens": "0"}, "draft_tokens must be at least 1"),
    ],
)
def test_what_cannot_be_is_refused_with_the_reason(parameters, message):
    with pytest.raises(ValueError, match=message):
        built(**parameters)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_cuda_without_a_device_is_refused():
    with pytest.raises(ValueError, match="sees no CUDA device"):
        built(device="cuda")


def test_fp8_is_refused_below_sm_89(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (8, 6))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "RTX 3090")
    with pytest.raises(ValueError, match=r"8\.9 or newer .* RTX 3090 has 8\.6: use int8"):
        quantization.quantizer("fp8", torch.device("cuda"))


def test_a_draft_of_another_vocabulary_is_refused(tmp_path):
    for path in TINY.iterdir():
        if path.is_file():
            shutil.copy(path, tmp_path / path.name)
    tokenizer = json.loads((tmp_path / "tokenizer.json").read_text())
    tokenizer["model"]["vocab"] = dict(list(tokenizer["model"]["vocab"].items())[:-1])
    tokenizer["model"]["merges"] = tokenizer["model"]["merges"][:-1]
    (tmp_path / "tokenizer.json").write_text(json.dumps(tokenizer))
    with pytest.raises(ValueError, match="another vocabulary"):
        built(draft_checkpoint=str(tmp_path))


@pytest.fixture(scope="module")
def rows():
    """Embeddings of a recording, by the tiny checkpoint's own encoder, and what it says."""
    from export.local import LocalAsr
    from perf.speech.clips import recording

    with LocalAsr(TINY) as asr:
        pcm = recording(ROOT / "perf" / "recordings" / "english.flac")
        return asr.embeddings(pcm), asr.transcribe([pcm])[0], asr.prompts.build("", None)


def answer(made, rows, **options):
    audio, _, (before, after) = rows
    prompt = kit.sequence.Prompt(before, audio.to(made.engine.network.dtype), after)
    one = kit.sequence.Sequence("", prompt, kit.sampling.SamplingParams(audio.shape[0]), 2, kit.Collector(), **options)
    return kit.run(made.engine, [one])[0], one


@pytest.mark.parametrize("parameters", [{"dtype": "bfloat16"}, {"dtype": "float16"}, {"quantization": "int8"}])
def test_less_precision_hears_the_same(rows, parameters):
    made = built(**parameters)
    ids, _ = answer(made, rows)
    assert ids == rows[1].token_ids
    assert made.engine.network.dtype == build_room.DTYPES[parameters.get("dtype", "float32")]
    made.engine.stop()


def test_int8_weights_take_a_quarter_of_the_memory():
    quantize = quantization.quantizer("int8", torch.device("cpu"))
    weight = torch.randn(256, 512)
    small = quantize(weight)
    stored = sum(part.numel() * part.element_size() for part in (small.values, small.scale))
    assert stored < weight.numel() * 1.1
    x = torch.randn(3, 512)
    expected, got = x @ weight.T, small(x)
    assert float((expected - got).norm() / expected.norm()) < 0.02


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
def test_compiled_steps_answer_the_same(rows, monkeypatch):
    # Compilers do not take packed matrices: large ones must stay as they are.
    monkeypatch.setattr(room("decoder", "network.products"), "PACKED_FROM", 0)
    made = built(torch_compile="on", decode_batches="1")
    ids, _ = answer(made, rows)
    assert ids == rows[1].token_ids
    made.engine.stop()


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
def test_a_compiled_step_takes_no_longer_with_a_larger_cache():
    """An arena of 200 MB, which was copied, took hundreds of times as long."""
    seconds = []
    for tokens in (200, 400_000):
        torch._dynamo.reset()
        network = kit.qwen3.Qwen3(kit.CONFIG, kit.decoder_weights(kit.CONFIG), kit.CPU, torch.float32, packed=False)
        shapes = kit.shapes.Shapes([1], 1, 1)
        made = kit.runner.StepRunner(network, kit.cache(tokens), 1, 1, shapes=shapes, compiled=True)
        step = kit.step.Step()
        step.add(torch.zeros(1, dtype=torch.int32).numpy(), 3, 0)
        step.judge(0)
        times = []
        with torch.inference_mode():
            for _ in range(10):
                started = time.perf_counter()
                made.launch(step).tokens()
                times.append(time.perf_counter() - started)
        seconds.append(min(times))
    assert seconds[1] < 20 * seconds[0]


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_cuda_graphs_answer_the_same(dtype):
    """By themselves, and with the next step planned into the other one of the pinned buffers while one runs; what is
    asked is what runs on the counting device as well."""
    where = {"device": "cuda", "dtype": getattr(torch, dtype)}
    graphs = {**where, "batches": [1, 2, 4, 8]}
    tokens = []
    for options in (where, graphs, {**graphs, "look_ahead": True}):
        made = kit.make_engine(**options)
        asked = kit.mixed_sequences()
        tokens.append(kit.run(made, asked))
        made.stop()
        assert [one.finish_reason for one in asked].count("cancelled") == 1
        if "batches" in options:
            assert made.runner.counters.fixed == made.runner.counters.steps
    assert tokens[0] == tokens[1] == tokens[2]


@pytest.mark.parametrize("draft", ["tiny", "tiny-fast"])
def test_a_draft_checkpoint_changes_nothing_but_the_number_of_steps(rows, draft):
    made = built(draft_checkpoint=str(ROOT / "export" / "tiny" / draft), draft_tokens="3")
    plain, alone = answer(made, rows)
    assert alone.num_drafted == 0
    if draft == "tiny":
        audio = rows[0]
    else:
        from export.local import LocalAsr
        from perf.speech.clips import recording

        with LocalAsr(ROOT / "export" / "tiny" / draft) as asr:
            audio = asr.embeddings(recording(ROOT / "perf" / "recordings" / "english.flac"))
    assert made.draft_width == audio.shape[1]
    steps = made.engine.stats.steps
    ids, one = answer(made, rows, draft_audio=audio)
    steps = made.engine.stats.steps - steps
    assert ids == plain == rows[1].token_ids
    assert one.num_accepted > 0.6 * one.num_drafted > 0
    assert steps < 0.6 * len(ids)
    made.engine.stop()
