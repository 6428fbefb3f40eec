"""Silero's network as products: it judges as the package's own graph does."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper

from export import vad
from export.errors import ExportError
from export.vad import as_products, export_vad, package_file
from perf.speech.clips import RECORDINGS, recording

WINDOW, CONTEXT = 512, 64


@pytest.fixture(scope="module", name="package")
def _package():
    return onnx.load(str(package_file()))


@pytest.fixture(scope="module", name="sessions")
def _sessions(package, tmp_path_factory):
    """The package's, and ours as it is exported."""
    target = tmp_path_factory.mktemp("vad") / "silero_vad.onnx"
    export_vad(target)
    models = package.SerializeToString(), str(target)
    return [onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"]) for model in models]


def judged(session, pcm, windows_per_run=10_000):
    """Probabilities of all windows, and the state behind the last one."""
    count = (pcm.size - CONTEXT) // WINDOW
    heard = np.lib.stride_tricks.sliding_window_view(pcm[: CONTEXT + WINDOW * count], CONTEXT + WINDOW)[::WINDOW]
    hidden = cell = np.zeros((1, 1, 128), dtype=np.float32)
    parts = []
    for start in range(0, count, windows_per_run):
        part = np.ascontiguousarray(heard[start : start + windows_per_run])
        probabilities, hidden, cell = session.run(None, {"input": part, "h": hidden, "c": cell})
        parts.append(probabilities)
    return np.concatenate(parts), np.concatenate([hidden.ravel(), cell.ravel()])


@pytest.mark.parametrize("name", ["english", "chinese"])
def test_speech_is_judged_as_the_package_judges_it(sessions, name):
    pcm = recording(RECORDINGS / f"{name}.flac")
    (expected, state), (found, own) = (judged(session, pcm) for session in sessions)
    assert expected.min() < 0.1 < 0.9 < expected.max()
    np.testing.assert_allclose(found, expected, atol=1e-4)
    np.testing.assert_allclose(own, state, atol=1e-3)


def test_any_sound_is(sessions):
    rng = np.random.default_rng(0)
    for scale in (0.0, 1e-4, 0.1, 1.0):
        pcm = (scale * rng.standard_normal(40 * WINDOW + CONTEXT)).astype(np.float32)
        (expected, _), (found, _) = (judged(session, pcm) for session in sessions)
        np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize("windows_per_run", [1, 3, 14])
def test_short_runs_judge_as_one_does(sessions, windows_per_run):
    pcm = recording(RECORDINGS / "english.flac")
    together, parts = judged(sessions[1], pcm)[0], judged(sessions[1], pcm, windows_per_run)[0]
    np.testing.assert_allclose(parts, together, atol=1e-5)


def test_another_network_is_refused(package):
    other = onnx.ModelProto()
    other.CopyFrom(package)
    (kernel,) = [one for one in other.graph.initializer if one.name == "encoder.1.weight"]
    kernel.CopyFrom(numpy_helper.from_array(np.zeros((32, 128, 3), dtype=np.float32), kernel.name))
    with pytest.raises(ExportError, match=r"6\.2\.3"):
        as_products(other)


def test_a_network_that_judges_otherwise_is_refused(package, tmp_path, monkeypatch):
    other = onnx.ModelProto()
    other.CopyFrom(package)
    # Of the same weights.
    (first,) = [one for one in other.graph.node if one.op_type == "Relu" and one.input[0] == "/encoder.0/Conv_output_0"]
    first.op_type = "Tanh"
    onnx.save(other, str(tmp_path / "other.onnx"))
    monkeypatch.setattr(vad, "package_file", lambda: tmp_path / "other.onnx")
    with pytest.raises(ExportError, match=r"6\.2\.3"):
        vad.export_vad(tmp_path / "silero_vad.onnx")
    assert not (tmp_path / "silero_vad.onnx").exists()
