"""Commands that read a checkpoint and write what the rooms load. What they need is imported when they run: `ensure` is
asked on every start."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from export.ensure import ALIGNER, FAST, MAIN, Do, Other, Place, decide, kept, language_model_folder, replacing
from export.stamp import Stamp, folder_of
from export.versions import encoder_room, version_folder

if TYPE_CHECKING:
    from export.checkpoint import Checkpoint
    from export.hub import Source


def export_all(arguments: Namespace) -> None:
    """Encoder ONNX, decoder checkpoint and VAD from one checkpoint: all that the default profile loads. With --aligner,
    what word times need as well."""
    from export.hub import resolve

    _export(resolve(arguments.checkpoint), arguments.repository, FAST if arguments.fast else MAIN)
    if arguments.aligner:
        _export(resolve(arguments.aligner), arguments.repository, ALIGNER)


def ensure(arguments: Namespace) -> bool:
    """`all`, unless what is exported is this checkpoint in today's format; quick where it is."""
    # In the same process: most of a small export is the time that its libraries take to import.
    asked = (
        (FAST if arguments.fast else MAIN, arguments.checkpoint, arguments.keep_other),
        (FAST, arguments.fast_checkpoint, arguments.keep_other_fast),
        (ALIGNER, arguments.aligner, arguments.keep_other_aligner),
    )
    refuse = Other.REFUSE if arguments.refuse_other else Other.REPLACE
    done = [
        _ensure(checkpoint, arguments.repository, place, Other.KEEP if keep else refuse)
        for place, checkpoint, keep in asked
        if checkpoint
    ]
    return _ensure_speakers(arguments) or any(done)


def speakers(arguments: Namespace) -> None:
    """The network that tells voices apart, and what describes it."""
    from export.speakers import export_speakers, speaker_folder

    name = export_speakers(arguments.repository, arguments.onnx, arguments.record)
    print(f"speakers {speaker_folder(arguments.repository)} ({name})")


def _ensure_speakers(arguments: Namespace) -> bool:
    from export.speakers import is_exported

    if not arguments.speakers or is_exported(arguments.repository):
        return False
    arguments.onnx = arguments.record = None
    speakers(arguments)
    return True


def _ensure(checkpoint: str, repository: Path, place: Place, other: Other) -> bool:
    do = decide(checkpoint, repository, place, other)
    if do is Do.NOTHING:
        return False
    stamp = Stamp.read(language_model_folder(repository, place))
    if do is Do.KEEP and stamp is not None:
        print(kept(repository, place, stamp))
        return False
    from export.hub import Source, resolve

    if do is Do.AGAIN and stamp is not None:
        print(f"{stamp.source} is exported again: the files that this version reads are others")
        again = folder_of(stamp.source)
        source = resolve(stamp.source, stamp.revision) if stamp.revision else Source(stamp.source, again)
    else:
        source = resolve(checkpoint)
    _export(source, repository, place)
    return True


def _export(source: Source, repository: Path, place: Place) -> None:
    from export.aligner import export_aligner, facts_of
    from export.checkpoint import Checkpoint
    from export.decoder import export_decoder
    from export.encoder.other_versions import require_same_weights
    from export.vad import export_vad
    from export.warm_up import export_warm_up

    checkpoint = Checkpoint(source.folder)
    if place is ALIGNER:
        # Before anything is replaced.
        facts_of(checkpoint)
    encoder_folder = repository / encoder_room(place.encoder_of)
    require_same_weights(encoder_folder, checkpoint.fingerprint)
    with replacing(repository, place):
        _export_encoder(checkpoint, encoder_folder / "1" / "model.onnx", "fp32", False)
        target = language_model_folder(repository, place)
        export_model = export_aligner if place is ALIGNER else export_decoder
        size = export_model(checkpoint, target, source)
        print(f"{place.language_model:8} {target} ({size / 1e6:.1f} MB of weights)")
        vad = repository / "vad" / "1" / "silero_vad.onnx"
        export_vad(vad)
        export_warm_up(repository)
        print(f"vad      {vad}")


def encoder(arguments: Namespace) -> None:
    """The encoder's ONNX file alone, in any precision."""
    from export.checkpoint import Checkpoint
    from export.hub import resolve

    checkpoint = Checkpoint(resolve(arguments.checkpoint).folder)
    folder = version_folder(arguments.repository, encoder_room(arguments.encoder_of), arguments.version)
    _export_encoder(checkpoint, folder / "model.onnx", arguments.precision, arguments.fixed_length)


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
