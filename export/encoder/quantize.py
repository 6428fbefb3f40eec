"""Eight bits for the encoder: explicit quantization (Q/DQ), calibrated on speech.

Q/DQ nodes say in the graph what is computed in eight bits, so ONNX Runtime and strongly typed TensorRT do the same.
Products with weights are quantized; attention's products of two activations, the first convolution, normalizations and
softmax are not: they cost little and lose much.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static

from export.command_line import export_command, place_words
from export.encoder.onnx_file import move, read_properties, stamp
from export.errors import ExportError
from export.files import staged
from export.rooms import room
from export.speech import Spoken

KINDS = ("int8", "fp8")
# Blocks to calibrate on: their extremes settle early.
MAX_BLOCKS = 64


class _Blocks(CalibrationDataReader):
    """Speech as the encoder's inputs."""

    def __init__(self, feeds: Iterator[dict[str, NDArray[np.generic]]]) -> None:
        self._feeds = feeds

    def get_next(self) -> dict[str, NDArray[np.generic]] | None:
        return next(self._feeds, None)


def quantize_encoder(source: Path, target: Path, kind: str, speech: list[Spoken]) -> int:
    """Write `source` (an exported model.onnx in fp32 or fp16) with int8 or fp8 products to `target`.

    Returns how many blocks of speech it was calibrated on.
    """
    if kind not in KINDS:
        raise ExportError(f"quantization must be one of {', '.join(KINDS)}, not {kind!r}")
    if not source.is_file():
        make = export_command("encoder", "CHECKPOINT", *place_words(source.parent))
        raise ExportError(f"{source} is missing: make it by {make}")
    properties = read_properties(source)
    if properties.get("quantization"):
        make = export_command("encoder", "CHECKPOINT", *place_words(source.parent))
        raise ExportError(
            f"{source} is quantized already ({properties['quantization']}): export it again by {make}, or name another "
            "one with --onnx"
        )
    if properties.get("precision") == "bf16":
        raise ExportError("bf16 has no calibration here: export the encoder as fp32 or fp16 first")
    blocks = list(_feeds(speech))
    eight = QuantType.QInt8 if kind == "int8" else QuantType.QFLOAT8E4M3FN
    with staged(target) as folder:
        path = folder / target.name
        # The quantizer prints what it does.
        with contextlib.redirect_stdout(io.StringIO()):
            quantize_static(
                source,
                path,
                _Blocks(iter(blocks)),
                quant_format=QuantFormat.QDQ,
                activation_type=eight,
                weight_type=eight,
                # A scale for each output channel; TensorRT has FP8 scales for whole tensors only.
                per_channel=kind == "int8",
                op_types_to_quantize=["MatMul", "Conv"] if kind == "int8" else ["MatMul"],
                nodes_to_quantize=_worth(source, kind),
                calibrate_method=CalibrationMethod.MinMax if kind == "int8" else CalibrationMethod.Distribution,
                use_external_data_format=source.stat().st_size < sum(_weights(source)),
                # TensorRT takes symmetric scales only.
                extra_options={"ActivationSymmetric": True, "WeightSymmetric": True},
            )
        stamp(path, **{**properties, "quantization": kind, "calibration_blocks": str(len(blocks))})
        move(path, target)
    return len(blocks)


def _feeds(speech: list[Spoken]) -> Iterator[dict[str, NDArray[np.generic]]]:
    """Full blocks of many clips, a few of each."""
    blocks_of = room("features", "blocks").blocks_of
    each = max(1, MAX_BLOCKS // len(speech))
    for one in speech[:MAX_BLOCKS]:
        made = blocks_of(one.pcm(), max_blocks=64)
        for index in range(min(each, len(made.mel))):
            part = slice(index, index + 1)
            yield {"MEL": made.mel[part], "FRAMES": made.frames[part], "CLIP_MAX": made.clip_max[part]}


def _worth(source: Path, kind: str) -> list[str]:
    """Names of the products with weights."""
    graph = onnx.load(source, load_external_data=False).graph
    weights = {one.name for one in graph.initializer if len(one.dims) >= 2}
    kinds = ("MatMul", "Gemm", "Conv") if kind == "int8" else ("MatMul", "Gemm")
    nodes = [node for node in graph.node if node.op_type in kinds and node.input[1] in weights]
    # One channel of mel in: nothing to win, and the signal's whole range to lose.
    return [node.name for node in nodes if node.name != next((n.name for n in nodes if n.op_type == "Conv"), None)]


def _weights(source: Path) -> Iterator[int]:
    """Bytes of each weight of a file."""
    for one in onnx.load(source, load_external_data=False).graph.initializer:
        yield int(np.prod(one.dims)) * onnx.helper.tensor_dtype_to_np_dtype(one.data_type).itemsize
