"""Silero's network from its own package to the room that serves it, as a handful of matrix products.

The package's graph convolves the four frames of a window one by one, for which ONNX Runtime takes three times as long
as for a product over all windows of a run. The weights are the same, and so is what they compute, but for the order of
sums.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from export.errors import ExportError
from export.files import staged

FILE = "silero_vad_16k_sequence.onnx"
# Samples of a window with those before it that it is heard with; of a frame, and from one frame to the next.
HEARD, FRAME, STEP = 576, 256, 128
# Frames of a window, whose end is mirrored by half a frame.
MIRRORED = STEP // 2
FRAMES = (HEARD + MIRRORED - FRAME) // STEP + 1
BINS = FRAME // 2 + 1

OTHER = f"{FILE} holds another network than that of silero-vad 6.2.3"
# What sums in another order may differ by, in a hundred windows of noise.
TOLERANCE = 1e-3

Weights = dict[str, NDArray[np.float32]]


def export_vad(target: Path) -> None:
    """Write the ONNX file to `target`; ExportError where the package is not installed, or another version of it is."""
    package = onnx.load(str(package_file()))
    model = as_products(package)
    _require_same(package, model)
    with staged(target) as folder:
        onnx.save(model, str(folder / target.name))


def package_file() -> Path:
    """The network as the package has it; ExportError where it is not there."""
    # Found without being imported: the package itself wants torchaudio, its network does not.
    spec = importlib.util.find_spec("silero_vad")
    if spec is None or not spec.submodule_search_locations:
        raise ExportError("the package silero-vad is not installed: `make setup` installs it")
    source = Path(spec.submodule_search_locations[0]) / "data" / FILE
    if not source.is_file():
        raise ExportError(f"{source} is missing: silero-vad 6.2.3 is needed")
    return source


def as_products(model: onnx.ModelProto) -> onnx.ModelProto:
    """The package's graph (`input` float32 [N, 576], `h`, `c` float32 [1, 1, 128]; the same outputs) without
    convolutions. Raises ExportError where it is another network."""
    weights = {one.name: numpy_helper.to_array(one) for one in model.graph.initializer}
    lstm = [node for node in model.graph.node if node.op_type == "LSTM"]
    shapes = {
        "stft.forward_basis_buffer": (2 * BINS, 1, FRAME),
        "encoder.0.weight": (128, BINS, 3),
        "encoder.1.weight": (64, 128, 3),
        "encoder.2.weight": (64, 64, 3),
        "encoder.3.weight": (128, 64, 3),
        **{f"encoder.{index}.bias": (width,) for index, width in enumerate((128, 64, 64, 128))},
        "output.weight": (1, 128, 1),
        "output.bias": (1,),
        **(dict(zip(lstm[0].input[1:4], ((1, 512, 128), (1, 512, 128), (1, 1024)), strict=True)) if lstm else {}),
    }
    known = all(name in weights and weights[name].shape == shape for name, shape in shapes.items())
    if len(lstm) != 1 or len(model.graph.output) != 3 or not known:
        raise ExportError(OTHER)
    layers: Weights = {"basis": weights["stft.forward_basis_buffer"][:, 0].T}
    length = FRAMES
    for index, stride in enumerate((1, 2, 2, 1)):
        kernel = weights[f"encoder.{index}.weight"]
        layers[f"w{index}"], after = _as_matrix(kernel, length, stride)
        layers[f"b{index}"] = np.tile(weights[f"encoder.{index}.bias"], after)
        length = after
    layers["w4"], layers["b4"] = weights["output.weight"][:, :, 0].T, weights["output.bias"]
    layers |= dict(zip("WRB", (weights[name] for name in lstm[0].input[1:4]), strict=True))
    return _graph(model, layers)


def _require_same(package: onnx.ModelProto, made: onnx.ModelProto) -> None:
    """ExportError where the two judge a sound differently."""
    heard = np.random.default_rng(0).standard_normal((100, HEARD)).astype(np.float32)
    heard *= np.linspace(0.001, 0.5, 100, dtype=np.float32)[:, None]
    state = np.zeros((1, 1, 128), dtype=np.float32)
    told = [
        onnxruntime.InferenceSession(one.SerializeToString(), providers=["CPUExecutionProvider"]).run(
            None, {"input": heard, "h": state, "c": state}
        )
        for one in (package, made)
    ]
    if any(np.abs(one - other).max() > TOLERANCE for one, other in zip(*told, strict=True)):
        raise ExportError(OTHER)


def _as_matrix(kernel: NDArray[np.float32], length: int, stride: int) -> tuple[NDArray[np.float32], int]:
    """A convolution over `length` places, with one of zeros on either side, as one matrix [length * in, after * out]
    over all of them, and the places after it. kernel [out, in, 3]."""
    num_out, num_in, width = kernel.shape
    after = (length + 2 - width) // stride + 1
    matrix = np.zeros((length, num_in, after, num_out), dtype=np.float32)
    for place in range(after):
        for tap in range(width):
            heard = place * stride + tap - 1
            if 0 <= heard < length:
                matrix[heard, :, place] = kernel[:, :, tap].T
    return matrix.reshape(length * num_in, after * num_out), after


def _graph(model: onnx.ModelProto, layers: Weights) -> onnx.ModelProto:
    """The products in order, with the inputs and outputs of `model`."""
    constants: dict[str, NDArray[np.generic]] = {
        **{name: np.ascontiguousarray(value) for name, value in layers.items()},
        "mirrored": np.array([0, 0, 0, MIRRORED]),
        "steps": np.array([0, FRAMES + 1, STEP]),
        "rows": np.array([0, FRAMES * BINS]),
        "turns": np.array([-1, 1, 128]),
        "flat": np.array([-1, 128]),
        "one_each": np.array([-1]),
        "first": np.array([0]),
        "second": np.array([1]),
        "last": np.array([FRAMES]),
        "end": np.array([FRAMES + 1]),
    }
    probabilities, hidden, cell = (one.name for one in model.graph.output)
    make = helper.make_node
    nodes = [
        make("Pad", ["input", "mirrored"], ["padded"], mode="reflect"),
        # A frame is two steps: this one and the next.
        make("Reshape", ["padded", "steps"], ["parts"]),
        make("Slice", ["parts", "first", "last", "second"], ["these"]),
        make("Slice", ["parts", "second", "end", "second"], ["next"]),
        make("Concat", ["these", "next"], ["frames"], axis=2),
        make("MatMul", ["frames", "basis"], ["spectrum"]),
        make("Mul", ["spectrum", "spectrum"], ["squares"]),
        make("Split", ["squares"], ["real", "imaginary"], axis=2, num_outputs=2),
        make("Add", ["real", "imaginary"], ["power"]),
        make("Sqrt", ["power"], ["magnitude"]),
        make("Reshape", ["magnitude", "rows"], ["x0"]),
    ]
    for index in range(4):
        nodes += [
            make("Gemm", [f"x{index}", f"w{index}", f"b{index}"], [f"y{index}"]),
            make("Relu", [f"y{index}"], [f"x{index + 1}"]),
        ]
    nodes += [
        make("Reshape", ["x4", "turns"], ["sequence"]),
        make("LSTM", ["sequence", "W", "R", "B", "", "h", "c"], ["heard", hidden, cell], hidden_size=128),
        make("Reshape", ["heard", "flat"], ["states"]),
        make("Relu", ["states"], ["active"]),
        make("Gemm", ["active", "w4", "b4"], ["logits"]),
        make("Sigmoid", ["logits"], ["judged"]),
        make("Reshape", ["judged", "one_each"], [probabilities]),
    ]
    initializers = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "silero_vad", model.graph.input, model.graph.output, initializers)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(made)
    return made
