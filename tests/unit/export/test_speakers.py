"""The exported speaker encoder, and what is refused in its place."""

import json

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from export.errors import ExportError
from export.rooms import room
from export.speakers import GE2E, _ge2e, export_speakers, is_exported, package_weights, speaker_folder

encoder_room, record_room = room("speakers", "encoder"), room("speakers", "record")


def test_the_exported_network_is_the_packages(tmp_path):
    import torch

    assert not is_exported(tmp_path)
    assert export_speakers(tmp_path) == "resemblyzer 0.1.4"
    assert is_exported(tmp_path)
    assert sorted(path.name for path in (tmp_path / "speakers" / "1").iterdir()) == ["checkpoint"]
    encoder = encoder_room.SpeakerEncoder(speaker_folder(tmp_path))
    state = torch.load(package_weights(), map_location="cpu", weights_only=True)["model_state"]
    network = _ge2e()
    network.load_state_dict({name: value for name, value in state.items() if not name.startswith("similarity_")})
    windows = np.random.default_rng(0).random((3, 160, 40), dtype=np.float32)
    with torch.inference_mode():
        expected = network.eval()(torch.from_numpy(windows)).numpy()
    np.testing.assert_allclose(encoder.embed(windows), expected, atol=1e-5)


def mean_of_frames(path, mels, width=None):
    """A network of the right tensors that knows nobody: the mean over its frames."""
    nodes = [helper.make_node("ReduceMean", ["feats"], ["embs"], axes=[1], keepdims=0)]
    graph = helper.make_graph(
        nodes,
        "mean",
        [helper.make_tensor_value_info("feats", TensorProto.FLOAT, ["B", "T", mels])],
        [helper.make_tensor_value_info("embs", TensorProto.FLOAT, ["B", width or mels])],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)


def described(path, **changes):
    record = {**GE2E, "name": "mean", "input": "feats", "output": "embs", "features": "kaldi_fbank", "num_mels": 80}
    path.write_text(json.dumps({**record, "normalize_dbfs": None, **changes}))


def test_another_encoder_is_served_by_its_record(tmp_path):
    network, record = tmp_path / "mean.onnx", tmp_path / "mean.json"
    mean_of_frames(network, 80)
    described(record)
    assert export_speakers(tmp_path, network, record) == "mean"
    encoder = encoder_room.SpeakerEncoder(speaker_folder(tmp_path))
    assert (encoder.width, encoder.frames) == (80, 160)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"input": "FEATURES"}, "has the tensors"),
        ({"num_mels": 40}, "its record says"),
        ({"features": "mfcc"}, "features must be one of mel_power, kaldi_fbank"),
        ({"turn": 0}, "turn must be a number above 0"),
        ({"hop_s": "soon"}, "hop_s must be a number above 0"),
    ],
)
def test_a_record_of_something_else_is_refused_and_replaces_nothing(tmp_path, changes, message):
    network, record = tmp_path / "mean.onnx", tmp_path / "mean.json"
    mean_of_frames(network, 80)
    described(record, **changes)
    with pytest.raises(ExportError, match=message):
        export_speakers(tmp_path, network, record)
    assert not is_exported(tmp_path)


def test_a_record_that_is_none_and_one_alone(tmp_path):
    network, record = tmp_path / "mean.onnx", tmp_path / "mean.json"
    mean_of_frames(network, 80)
    record.write_text("[]")
    with pytest.raises(ExportError, match="does not describe a speaker encoder"):
        export_speakers(tmp_path, network, record)
    with pytest.raises(ExportError, match="go together"):
        export_speakers(tmp_path, network)
    with pytest.raises(ExportError, match=r"none\.json is missing"):
        export_speakers(tmp_path, network, tmp_path / "none.json")
