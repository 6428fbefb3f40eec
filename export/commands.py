"""The commands of `python -m export`: their arguments, and what they print."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from export.encoder.plan import check_plan, here
from export.errors import ExportError
from export.rooms import MODEL_REPOSITORY, room

if TYPE_CHECKING:
    from export.checkpoint import Checkpoint

PYTHON_ROOMS = ("vad", "features", "encoder", "decoder", "asr_stream")
RECORDINGS = Path(__file__).resolve().parent.parent / "perf" / "recordings"
Command = tuple[str, Callable[[ArgumentParser], None], Callable[[Namespace], None]]


def export_all(arguments: Namespace) -> None:
    """Encoder ONNX, decoder checkpoint and VAD from one checkpoint: all that the default profile loads."""
    from export.checkpoint import Checkpoint, resolve
    from export.decoder import export_decoder
    from export.vad import export_vad
    from export.warm_up import export_warm_up

    checkpoint = Checkpoint(resolve(arguments.checkpoint))
    suffix = "_fast" if arguments.fast else ""
    _export_encoder(checkpoint, arguments.repository / f"encoder{suffix}" / "1" / "model.onnx", "fp32", False)
    decoder = arguments.repository / f"decoder{suffix}" / "1" / "checkpoint"
    print(f"decoder  {decoder} ({export_decoder(checkpoint, decoder) / 1e6:.1f} MB of weights)")
    vad = arguments.repository / "vad" / "1" / "silero_vad.onnx"
    export_vad(vad)
    export_warm_up(arguments.repository)
    print(f"vad      {vad}")


def encoder(arguments: Namespace) -> None:
    """The encoder's ONNX file alone, in any precision."""
    from export.checkpoint import Checkpoint, resolve

    target = _encoder_folder(arguments) / "model.onnx"
    _export_encoder(Checkpoint(resolve(arguments.checkpoint)), target, arguments.precision, arguments.fixed_length)


def _export_encoder(checkpoint: Checkpoint, target: Path, precision: str, fixed_length: bool) -> None:
    from export.encoder.onnx_export import export_encoder

    verified = export_encoder(checkpoint, target, precision, fixed_length=fixed_length)
    size = sum(path.stat().st_size for path in target.parent.glob(target.name + "*") if path.suffix != ".json")
    print(f"encoder  {target} ({size / 1e6:.1f} MB, {precision})")
    if verified.max_abs_diff is None:
        print("         not run: ONNX Runtime has no such convolutions on a CPU; compare it on a GPU by `verify`")
    else:
        print(
            f"         largest difference from PyTorch {verified.max_abs_diff:.1e} "
            f"in embeddings up to {verified.max_abs:.1f}"
        )


def quantize(arguments: Namespace) -> None:
    """An eight-bit encoder from an exported one, calibrated on speech."""
    from export.encoder.quantize import quantize_encoder
    from export.speech import read_speech

    target = arguments.to or _encoder_folder(arguments) / "model.onnx"
    blocks = quantize_encoder(arguments.onnx, target, arguments.kind, read_speech(arguments.speech))
    print(f"encoder  {target} ({target.stat().st_size / 1e6:.1f} MB, {arguments.kind}, calibrated on {blocks} blocks)")


def tensorrt(arguments: Namespace) -> None:
    """A TensorRT plan for the GPU at hand; --dry-run checks the graph on any machine."""
    from dataclasses import replace

    from export.encoder.tensorrt_builder import PRESETS, BuildOptions, build_plan, dry_run

    if not arguments.onnx.is_file():
        raise ExportError(f"{arguments.onnx} is missing: make it with `python -m export encoder CHECKPOINT`")
    if arguments.dry_run:
        problems = dry_run(arguments.onnx)
        if problems:
            raise ExportError("; ".join(problems))
        print(f"{arguments.onnx}: TensorRT has every operator and type of it")
        return
    options = PRESETS[arguments.preset].options if arguments.preset else BuildOptions()
    given = {"workspace_mb": arguments.workspace_mb, "level": arguments.level, "max_blocks": arguments.max_blocks}
    options = replace(options, **{name: value for name, value in given.items() if value is not None})
    options = replace(options, timing_cache=arguments.timing_cache)
    target = _encoder_folder(arguments) / "model.plan"
    record = build_plan(arguments.onnx, target, options, arguments.preset)
    print(
        f"encoder  {target} ({target.stat().st_size / 1e6:.1f} MB, {record.precision}, quantization "
        f"{record.quantization}) for {record.gpu} by TensorRT {record.tensorrt}"
    )


def check(arguments: Namespace) -> None:
    """Whether the plans of the repository can run here; the container asks before it starts the server."""
    plans = sorted(arguments.repository.glob("encoder*/*/model.plan"))
    if not plans and arguments.if_any:
        print(f"{arguments.repository} has no plans to check")
        return
    if not plans:
        raise ExportError(f"{arguments.repository} has no model.plan: build it with `python -m export tensorrt`")
    now = here()
    for plan in plans:
        record = check_plan(plan, now)
        print(f"{plan}: {record.precision}, TensorRT {record.tensorrt}, {record.gpu}")


def verify(arguments: Namespace) -> None:
    """Engines side by side on speech: differences, tokens, words and speed."""
    from export.checkpoint import Checkpoint, resolve
    from export.speech import read_speech
    from export.verify import parity_table, verify_engines

    checkpoint = Checkpoint(resolve(arguments.checkpoint))
    parities = verify_engines(arguments.engines, checkpoint, read_speech(arguments.speech)[: arguments.clips])
    print(parity_table(arguments.engines, parities))
    worst = min(one.token_agreement for one in parities)
    if worst < arguments.agreement:
        raise ExportError(
            f"only {100 * worst:.2f} % of the tokens agree; {100 * arguments.agreement:g} % are asked for"
        )


def advise(arguments: Namespace) -> None:
    """Every precision and quantization of encoder and decoder on your speech, and which of them to use."""
    from export.advice import advise as report
    from export.checkpoint import Checkpoint, resolve
    from export.speech import read_speech

    print(report(Checkpoint(resolve(arguments.checkpoint)), read_speech(arguments.speech)[: arguments.clips]))


def settings(arguments: Namespace) -> None:
    """The parameters of a model: defaults, bounds and what they do."""
    print(room(arguments.model, "parameters").Parameters.described())


def _encoder_folder(arguments: Namespace) -> Path:
    from export.versions import version_folder

    return version_folder(arguments.repository, "encoder_fast" if arguments.fast else "encoder", arguments.version)


def _repository(parser: ArgumentParser) -> None:
    parser.add_argument("--repository", type=Path, default=MODEL_REPOSITORY, help="the model repository to fill")


def _check_arguments(parser: ArgumentParser) -> None:
    _repository(parser)
    parser.add_argument("--if-any", action="store_true", help="no plan is no error")


def _place(parser: ArgumentParser) -> None:
    _repository(parser)
    parser.add_argument("--fast", action="store_true", help="fill encoder_fast instead")
    parser.add_argument("--version", type=int, default=1, help="the version folder; a new one can be swapped in")


def _checkpoint(parser: ArgumentParser) -> None:
    parser.add_argument("checkpoint", help="a folder, or a hub id such as Qwen/Qwen3-ASR-0.6B")


def _speech(parser: ArgumentParser) -> None:
    parser.add_argument("--speech", type=Path, default=RECORDINGS, help="a folder of sound files, or a manifest")


def _onnx(parser: ArgumentParser) -> None:
    parser.add_argument("--onnx", type=Path, default=MODEL_REPOSITORY / "encoder" / "1" / "model.onnx")


def _all_arguments(parser: ArgumentParser) -> None:
    _checkpoint(parser)
    _repository(parser)
    parser.add_argument("--fast", action="store_true", help="fill encoder_fast and decoder_fast instead")


def _encoder_arguments(parser: ArgumentParser) -> None:
    _checkpoint(parser)
    _place(parser)
    parser.add_argument("--precision", choices=["fp32", "fp16", "bf16"], default="fp32")
    parser.add_argument("--fixed-length", action="store_true", help="blocks of 800 frames only")


def _quantize_arguments(parser: ArgumentParser) -> None:
    _onnx(parser)
    _place(parser)
    _speech(parser)
    parser.add_argument("--kind", choices=["int8", "fp8"], default="int8")
    parser.add_argument("--to", type=Path, help="write here instead of into a version folder")


def _tensorrt_arguments(parser: ArgumentParser) -> None:
    _onnx(parser)
    _place(parser)
    parser.add_argument("--preset", choices=["rtx4090", "l4", "a10", "a100", "h100"], help="left out: detected")
    parser.add_argument("--workspace-mb", type=int, help="the builder's scratch memory")
    parser.add_argument("--level", type=int, choices=range(6), help="0: fast to build, 5: fast to run")
    parser.add_argument("--max-blocks", type=int, help="blocks of one run, 1 to 64")
    parser.add_argument("--timing-cache", type=Path, help="keep measurements here for the next build")
    parser.add_argument("--dry-run", action="store_true", help="check the graph; no TensorRT and no GPU needed")


def _verify_arguments(parser: ArgumentParser) -> None:
    _checkpoint(parser)
    parser.add_argument(
        "engines", nargs="+", help="the first is the reference: torch, torch:fp16, PATH.onnx, PATH.onnx@cuda, PATH.plan"
    )
    _speech(parser)
    parser.add_argument("--clips", type=int, default=100, help="at most so many sound files")
    parser.add_argument("--agreement", type=float, default=0.0, help="fail where fewer tokens agree, e.g. 0.99")


def _advise_arguments(parser: ArgumentParser) -> None:
    _checkpoint(parser)
    _speech(parser)
    parser.add_argument("--clips", type=int, default=100, help="at most so many sound files")


def _settings_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("model", choices=PYTHON_ROOMS)


COMMANDS: dict[str, Command] = {
    "all": ("encoder ONNX, decoder checkpoint and VAD from one checkpoint", _all_arguments, export_all),
    "encoder": ("the encoder's ONNX file: fp32, fp16, bf16", _encoder_arguments, encoder),
    "quantize": ("an int8 or fp8 encoder, calibrated on speech", _quantize_arguments, quantize),
    "tensorrt": ("a TensorRT plan for the GPU at hand", _tensorrt_arguments, tensorrt),
    "check": ("whether the repository's plans can run here", _check_arguments, check),
    "verify": ("engines side by side on speech", _verify_arguments, verify),
    "settings": ("a model's parameters: defaults, bounds and what they do", _settings_arguments, settings),
    "advise": ("which precision and quantization to use, measured on speech", _advise_arguments, advise),
}
