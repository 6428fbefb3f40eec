"""The encoder in half precision and eight bits: what is float32 stays float32, what is heard stays the same."""

import numpy as np
import onnx
import pytest
import torch

from export.checkpoint import Checkpoint
from export.encoder.engines import open_engine
from export.encoder.onnx_export import example, export_encoder
from export.encoder.onnx_file import read_properties
from export.encoder.quantize import quantize_encoder
from export.encoder.tensorrt_builder import dry_run
from export.errors import ExportError
from export.local import LocalAsr
from export.speech import read_speech
from export.verify import compare, hear, token_agreement
from tests.conftest import RECORDINGS, TINY


@pytest.fixture(scope="module")
def files(tmp_path_factory, encoders):
    """Every precision and quantization of the tiny encoder, by name."""
    folder, speech = tmp_path_factory.mktemp("quantized"), read_speech(RECORDINGS)
    made = {precision: encoders.path(precision) for precision in ("fp32", "fp16", "bf16")}
    for kind in ("int8", "fp8"):
        made[kind] = folder / f"{kind}.onnx"
        quantize_encoder(made["fp32"], made[kind], kind, speech)
    return made


def test_files_say_what_they_are(files):
    checkpoint = Checkpoint(TINY)
    for name, path in files.items():
        properties = read_properties(path)
        assert properties["checkpoint"] == "tiny"
        assert properties["weights_sha256"] == checkpoint.fingerprint
        assert properties["precision"] == (name if name in ("fp32", "fp16", "bf16") else "fp32")
        assert properties.get("quantization") == (name if name in ("int8", "fp8") else None)
        assert int(properties["opset"]) >= 20
        assert "torch" in properties["exporter"]


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_clamp_norm_and_softmax_stay_float32_and_products_do_not(files, precision):
    model = onnx.shape_inference.infer_shapes(onnx.load(files[precision]))
    types = {one.name: one.type.tensor_type.elem_type for one in (*model.graph.value_info, *model.graph.input)}
    types |= {one.name: one.data_type for one in model.graph.initializer}
    half = {"fp16": onnx.TensorProto.FLOAT16, "bf16": onnx.TensorProto.BFLOAT16}[precision]
    for kind, expected in (
        ("LayerNormalization", onnx.TensorProto.FLOAT),
        ("Softmax", onnx.TensorProto.FLOAT),
        ("Max", onnx.TensorProto.FLOAT),
        ("MatMul", half),
        ("Conv", half),
    ):
        nodes = [node for node in model.graph.node if node.op_type == kind]
        assert nodes, kind
        assert {types[node.input[0]] for node in nodes} == {expected}, kind
    assert {one.type.tensor_type.elem_type for one in model.graph.output} == {onnx.TensorProto.FLOAT}
    assert files[precision].stat().st_size < 0.62 * files["fp32"].stat().st_size


def test_a_fixed_length_has_one_shape(tmp_path):
    export_encoder(Checkpoint(TINY), tmp_path / "model.onnx", fixed_length=True)
    mel = onnx.load(tmp_path / "model.onnx").graph.input[0].type.tensor_type.shape.dim
    assert [one.dim_value for one in mel] == [0, 128, 800]
    assert read_properties(tmp_path / "model.onnx")["length"] == "800"


def test_engines_hear_the_same(files):
    checkpoint, speech = Checkpoint(TINY), read_speech(RECORDINGS)
    with LocalAsr(TINY) as asr:
        heard = {
            name: hear(open_engine(str(where), checkpoint), asr, speech)
            for name, where in {"torch": "torch", "bf16": "torch:bf16", **files}.items()
            if name != "bf16" or where == "torch:bf16"
        }
    parities = {name: compare(heard["torch"], one, speech) for name, one in heard.items()}
    assert parities["fp32"].max_abs_diff < 1e-4
    assert 0 < parities["fp16"].max_abs_diff < 0.05
    assert 0.98 < parities["int8"].cosine < 0.99999
    for name in ("torch", "fp32", "fp16", "int8"):
        assert parities[name].token_agreement == 1.0, name
    # FP8 costs accuracy on a network this small; it must still be the same network.
    assert parities["fp8"].token_agreement > 0.5
    assert parities["fp8"].mean_abs_diff < 0.5


def test_full_precision_is_what_it_was_before(files):
    encoder = Checkpoint(TINY).block_encoder()
    twice = Checkpoint(TINY).block_encoder().in_precision(torch.float32)
    feeds = example(3, 800, seed=4)
    with torch.inference_mode():
        assert torch.equal(encoder(*feeds), twice(*feeds))
        half = Checkpoint(TINY).block_encoder().in_precision(torch.float16)
        assert torch.equal(half.positions, encoder.positions)
        # A block without a valid frame is all zeros in any precision, and not NaN.
        mel, frames, clip_max = feeds
        assert not half(mel, torch.zeros_like(frames), clip_max).any()


@pytest.mark.parametrize("name", ["fp32", "fp16", "bf16", "int8", "fp8"])
def test_tensorrt_has_layers_for_every_graph(files, name):
    assert dry_run(files[name]) == []


def test_the_dry_run_names_what_stands_in_the_way(files, tmp_path):
    model = onnx.load(files["fp32"])
    next(node for node in model.graph.node if node.op_type == "Softmax").op_type = "Hardmax"
    next(node for node in model.graph.node if node.op_type == "Gelu").domain = "com.microsoft"
    next(one for one in model.graph.input if one.name == "FRAMES").type.tensor_type.elem_type = onnx.TensorProto.INT64
    onnx.save(model, tmp_path / "model.onnx")
    problems = " ".join(dry_run(tmp_path / "model.onnx"))
    assert "no layer for Hardmax" in problems
    assert "com.microsoft" in problems
    assert "FRAMES is ('INT64', 2)" in problems


def test_quantization_refuses_what_it_cannot_do(files, tmp_path):
    speech = read_speech(RECORDINGS)
    with pytest.raises(ExportError, match="quantized already"):
        quantize_encoder(files["int8"], tmp_path / "a.onnx", "int8", speech)
    with pytest.raises(ExportError, match="bf16 has no calibration"):
        quantize_encoder(files["bf16"], tmp_path / "a.onnx", "int8", speech)
    with pytest.raises(ExportError, match="int8, fp8"):
        quantize_encoder(files["fp32"], tmp_path / "a.onnx", "int4", speech)
    assert list(tmp_path.iterdir()) == []


def test_engines_are_refused_by_name(files, tmp_path):
    checkpoint = Checkpoint(TINY)
    for name, message in (
        ("torch:fp64", "fp32, fp16, bf16"),
        (str(tmp_path / "none.onnx"), "no engine"),
        (f"{files['fp32']}@tpu", "cpu, cuda, tensorrt"),
        (f"{files['fp32']}@tensorrt_rtx", "onnxruntime-ep-nv-tensorrt-rtx"),
    ):
        with pytest.raises(ExportError, match=message):
            open_engine(name, checkpoint)
    if not torch.cuda.is_available():
        with pytest.raises(ExportError, match="onnxruntime-gpu"):
            open_engine(f"{files['fp32']}@cuda", checkpoint)
    with pytest.raises(ExportError, match="other weights"):
        open_engine(str(files["fp32"]), Checkpoint(TINY.parent / "tiny-fast"))


def test_token_agreement_counts_edits():
    assert token_agreement([[1, 2, 3, 4]], [[1, 2, 3, 4]]) == 1.0
    assert token_agreement([[1, 2, 3, 4]], [[1, 3, 4]]) == 0.75
    assert token_agreement([[1, 2], [3, 4]], [[1, 2], [5, 6]]) == 0.5


def test_int8_scales_are_symmetric(files):
    model = onnx.load(files["int8"])
    points = {node.input[2] for node in model.graph.node if node.op_type == "QuantizeLinear"}
    values = [onnx.numpy_helper.to_array(one) for one in model.graph.initializer if one.name in points]
    assert values
    assert not any(np.any(value) for value in values)
