"""The commands of `python -m export`: what each is called, takes and does."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Callable

from export.commands import arguments, checkpoints, comparing, decoding, engines, memory, settings

# A command that had nothing to do returns False.
Command = tuple[str, Callable[[ArgumentParser], None], Callable[[Namespace], bool | None]]

COMMANDS: dict[str, Command] = {
    "all": (
        "encoder ONNX, decoder checkpoint and VAD from one checkpoint",
        arguments.for_all,
        checkpoints.export_all,
    ),
    "ensure": ("`all`, where another checkpoint or none is exported", arguments.for_ensure, checkpoints.ensure),
    "speakers": ("the speaker encoder, by which speakers are told apart", arguments.for_speakers, checkpoints.speakers),
    "vllm": ("vLLM, by which profiles of that name decode", decoding.for_vllm, decoding.vllm),
    "encoder": ("the encoder's ONNX file: fp32, fp16, bf16", arguments.for_encoder, checkpoints.encoder),
    "quantize": ("an int8 or fp8 encoder, calibrated on speech", arguments.for_quantize, engines.quantize),
    "tensorrt": ("a TensorRT plan for the GPU at hand", arguments.for_tensorrt, engines.tensorrt),
    "check": ("whether the plans that a profile loads can run here", arguments.for_check, engines.check),
    "memory": ("what a profile takes of a GPU's memory, and whether it fits", memory.add_arguments, memory.memory),
    "verify": ("engines side by side on speech", arguments.for_verify, comparing.verify),
    "settings": (
        "a model's parameters: defaults, bounds and what they do",
        settings.add_arguments,
        settings.settings,
    ),
    "advise": ("which precision and quantization to use, measured on speech", arguments.for_advise, comparing.advise),
}
