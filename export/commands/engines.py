"""Commands that make encoder engines of an exported graph, and check them."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from export.command_line import export_command, place_words
from export.encoder.plan import build_words, check_plan, here
from export.encoder.served_plans import max_batch_size, served_plans
from export.errors import ExportError
from export.files import require_readable
from export.versions import encoder_room, source_onnx, version_folder


def quantize(arguments: Namespace) -> None:
    """An eight-bit encoder from an exported one, calibrated on speech."""
    from export.commands.comparing import speech_of

    speech, source = speech_of(arguments), _source(arguments)
    from export.encoder.quantize import quantize_encoder

    target = arguments.to or _folder(arguments) / "model.onnx"
    blocks = quantize_encoder(source, target, arguments.kind, speech)
    print(f"encoder  {target} ({target.stat().st_size / 1e6:.1f} MB, {arguments.kind}, calibrated on {blocks} blocks)")


def tensorrt(arguments: Namespace) -> None:
    """A TensorRT plan for the GPU at hand; --dry-run checks the graph on any machine."""
    from dataclasses import replace

    source = _source(arguments)
    from export.encoder.tensorrt_builder import (
        PRESETS,
        BuildOptions,
        build_plan,
        dry_run,
        precision_words,
        require_blocks,
    )

    options = PRESETS[arguments.preset].options if arguments.preset else BuildOptions()
    given = {"workspace_mb": arguments.workspace_mb, "level": arguments.level, "max_blocks": arguments.max_blocks}
    options = replace(options, **{name: value for name, value in given.items() if value is not None})
    options = replace(options, timing_cache=arguments.timing_cache)
    require_blocks(options, max_batch_size(arguments.repository, encoder_room(arguments.encoder_of)))
    slow = precision_words(source)
    if slow is not None and (arguments.dry_run or arguments.fp32):
        print(f"warning: {slow}")
    elif slow is not None:
        raise ExportError(f"{slow}, or --fp32 where you mean it")
    if arguments.dry_run:
        problems = dry_run(source)
        if problems:
            raise ExportError("; ".join(problems))
        print(f"{source}: TensorRT has every operator and type of it")
        return
    # Before a version's folder is made for nothing.
    here()
    target = _folder(arguments) / "model.plan"
    record = build_plan(source, target, options, arguments.preset)
    print(
        f"encoder  {target} ({target.stat().st_size / 1e6:.1f} MB, {record.precision}, quantization "
        f"{record.quantization}) for {record.gpu} by TensorRT {record.tensorrt}"
    )


def check(arguments: Namespace) -> None:
    """Whether a server of this user's can read the repository, and the plans that its profile loads can run here; the
    container asks before it starts the server."""
    require_readable(arguments.repository)
    plans = served_plans(arguments.repository, arguments.profile)
    for one in plans:
        # Whether the smaller size and the aligner are loaded is not known: a plan of theirs is not missed.
        if not one.is_optional and not one.plan.is_file():
            raise ExportError(f"{one.plan} is missing: {build_words(one.plan)}")
    plans = [one for one in plans if one.plan.is_file()]
    profile = f"the profile {arguments.profile}" if arguments.profile else "the default profile"
    if not plans and arguments.if_any:
        print(f"{profile} loads no plans: nothing to check")
        return
    if not plans:
        raise ExportError(f"{profile} loads no plans")
    now = here()
    for one in plans:
        record = check_plan(one.plan, now, one.max_batch_size)
        print(f"{one.plan}: {record.precision}, TensorRT {record.tensorrt}, {record.gpu}")


def _source(arguments: Namespace) -> Path:
    """The graph to start from: --onnx, or that of the version. Raises ExportError where there is none."""
    named: Path | None = arguments.onnx
    source = named or source_onnx(arguments.repository, arguments.encoder_of, arguments.version)
    own = arguments.repository / encoder_room(arguments.encoder_of) / str(arguments.version)
    if not source.is_file():
        make = export_command("encoder", "CHECKPOINT", *place_words(own))
        raise ExportError(f"{source if named else own / 'model.onnx'} is missing: make it by {make}")
    if named is None and source.parent != own:
        print(f"version {arguments.version} has no model.onnx of its own: from {source}")
    return source


def _folder(arguments: Namespace) -> Path:
    return version_folder(arguments.repository, encoder_room(arguments.encoder_of), arguments.version)
