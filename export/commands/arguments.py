"""What the commands take."""

from __future__ import annotations

import os
from argparse import ArgumentParser
from pathlib import Path

from export.rooms import MODEL_REPOSITORY


def _repository(parser: ArgumentParser) -> None:
    parser.add_argument("--repository", type=Path, default=MODEL_REPOSITORY, help="the model repository to fill")


def for_check(parser: ArgumentParser) -> None:
    _repository(parser)
    parser.add_argument(
        "--profile", default="", help="the server's --model-config-name; left out or empty: its default configurations"
    )
    parser.add_argument("--if-any", action="store_true", help="a profile that loads no plans is no error")


def _place(parser: ArgumentParser) -> None:
    _repository(parser)
    of = parser.add_mutually_exclusive_group()
    of.add_argument(
        "--fast", action="store_const", const="fast", default="", dest="encoder_of", help="fill encoder_fast instead"
    )
    of.add_argument(
        "--aligner", action="store_const", const="aligner", dest="encoder_of", help="fill encoder_aligner instead"
    )
    parser.add_argument("--version", type=int, default=1, help="the version folder; a new one can be swapped in")


def _checkpoint(parser: ArgumentParser) -> None:
    parser.add_argument("checkpoint", help="a folder, or a hub id such as Qwen/Qwen3-ASR-0.6B")


def _speech(parser: ArgumentParser) -> None:
    parser.add_argument("--speech", type=Path, help="a folder of sound files, or a manifest; left out: perf/recordings")


def _onnx(parser: ArgumentParser) -> None:
    parser.add_argument("--onnx", type=Path, help="left out: model.onnx of --version (and --fast), or else version 1's")


def for_all(parser: ArgumentParser) -> None:
    _checkpoint(parser)
    _repository(parser)
    parser.add_argument("--fast", action="store_true", help="fill encoder_fast and decoder_fast instead")
    parser.add_argument("--aligner", metavar="CHECKPOINT", help="a forced aligner, by which words have times, as well")


def for_speakers(parser: ArgumentParser) -> None:
    _repository(parser)
    parser.add_argument("--onnx", type=Path, help="another speaker encoder; left out: that of the package resemblyzer")
    parser.add_argument(
        "--record", type=Path, help="what describes it: tensors, features, distances (export/README.md)"
    )


def for_ensure(parser: ArgumentParser) -> None:
    for_all(parser)
    other = parser.add_mutually_exclusive_group()
    other.add_argument("--keep-other", action="store_true", help="another checkpoint that is exported already stays")
    other.add_argument("--refuse-other", action="store_true", help="another checkpoint that is exported is an error")
    parser.add_argument("--fast-checkpoint", help="the same for the small checkpoint of two, right after")
    parser.add_argument("--keep-other-fast", action="store_true", help="another small one that is there already stays")
    parser.add_argument("--keep-other-aligner", action="store_true", help="another aligner that is there already stays")
    parser.add_argument("--speakers", action="store_true", help="a speaker encoder as well, where none is there")


def for_encoder(parser: ArgumentParser) -> None:
    _checkpoint(parser)
    _place(parser)
    parser.add_argument("--precision", choices=["fp32", "fp16", "bf16"], default="fp32")
    parser.add_argument("--fixed-length", action="store_true", help="blocks of 800 frames only")


def for_quantize(parser: ArgumentParser) -> None:
    _onnx(parser)
    _place(parser)
    _speech(parser)
    parser.add_argument("--kind", choices=["int8", "fp8"], default="int8")
    parser.add_argument("--to", type=Path, help="write here instead of into a version folder")


def for_tensorrt(parser: ArgumentParser) -> None:
    _onnx(parser)
    _place(parser)
    parser.add_argument("--preset", choices=["rtx4090", "l4", "a10", "a100", "h100"], help="left out: detected")
    parser.add_argument("--workspace-mb", type=int, help="the builder's scratch memory")
    parser.add_argument("--level", type=int, choices=range(6), help="0: fast to build, 5: fast to run")
    parser.add_argument("--max-blocks", type=int, help="blocks of one run, the configurations' max_batch_size to 64")
    kept = os.environ.get("ASR_TIMING_CACHE")
    parser.add_argument(
        "--timing-cache",
        type=Path,
        default=Path(kept) if kept else None,
        help="keep measurements here for the next build (ASR_TIMING_CACHE)",
    )
    parser.add_argument("--fp32", action="store_true", help="a plan in float32, where the graph is; else it is refused")
    parser.add_argument("--dry-run", action="store_true", help="check the graph; no TensorRT and no GPU needed")


def for_verify(parser: ArgumentParser) -> None:
    _checkpoint(parser)
    parser.add_argument(
        "engines", nargs="+", help="the first is the reference: torch, torch:fp16, PATH.onnx, PATH.onnx@cuda, PATH.plan"
    )
    _speech(parser)
    parser.add_argument("--clips", type=int, default=100, help="at most so many sound files")
    parser.add_argument("--agreement", type=float, default=0.0, help="fail where fewer tokens agree, e.g. 0.99")


def for_advise(parser: ArgumentParser) -> None:
    _checkpoint(parser)
    _speech(parser)
    parser.add_argument("--clips", type=int, default=100, help="at most so many sound files")
