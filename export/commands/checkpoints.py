"""Commands that read a checkpoint and write what the rooms load. What they need is imported when they run: `ensure` is
asked on every start."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from export.ensure import Do, Other, decide, decoder_folder, kept, replacing
from export.stamp import Stamp, folder_of

if TYPE_CHECKING:
    from export.checkpoint import Checkpoint
    from export.hub import Source


def export_all(arguments: Namespace) -> None:
    """Encoder ONNX, decoder checkpoint and VAD from one checkpoint: all that the default profile loads."""
    from export.hub import resolve

    _export_all(resolve(arguments.checkpoint), arguments.repository, arguments.fast)


def ensure(arguments: Namespace) -> bool:
    """`all`, unless what is exported is this checkpoint in today's format; quick where it is."""
    refuse = Other.REFUSE if arguments.refuse_other else Other.REPLACE
    other = Other.KEEP if arguments.keep_other else refuse
    done = _ensure(arguments.checkpoint, arguments.repository, arguments.fast, other)
    if arguments.fast_checkpoint:
        # In the same process: most of a small export is the time that its libraries take to import.
        other = Other.KEEP if arguments.keep_other_fast else refuse
        done = _ensure(arguments.fast_checkpoint, arguments.repository, True, other) or done
    return done


def _ensure(checkpoint: str, repository: Path, fast: bool, other: Other) -> bool:
    do = decide(checkpoint, repository, fast, other)
    if do is Do.NOTHING:
        return False
    stamp = Stamp.read(decoder_folder(repository, fast))
    if do is Do.KEEP and stamp is not None:
        print(kept(repository, fast, stamp))
        return False
    from export.hub import Source, resolve

    if do is Do.AGAIN and stamp is not None:
        print(f"{stamp.source} is exported again: the files that this version reads are others")
        again = folder_of(stamp.source)
        source = resolve(stamp.source, stamp.revision) if stamp.revision else Source(stamp.source, again)
    else:
        source = resolve(checkpoint)
    _export_all(source, repository, fast)
    return True


def _export_all(source: Source, repository: Path, fast: bool) -> None:
    from export.checkpoint import Checkpoint
    from export.decoder import export_decoder
    from export.encoder.other_versions import require_same_weights
    from export.vad import export_vad
    from export.warm_up import export_warm_up

    checkpoint = Checkpoint(source.folder)
    suffix = "_fast" if fast else ""
    require_same_weights(repository / f"encoder{suffix}", checkpoint.fingerprint)
    with replacing(repository, fast):
        _export_encoder(checkpoint, repository / f"encoder{suffix}" / "1" / "model.onnx", "fp32", False)
        decoder = decoder_folder(repository, fast)
        print(f"decoder  {decoder} ({export_decoder(checkpoint, decoder, source) / 1e6:.1f} MB of weights)")
        vad = repository / "vad" / "1" / "silero_vad.onnx"
        export_vad(vad)
        export_warm_up(repository)
        print(f"vad      {vad}")


def encoder(arguments: Namespace) -> None:
    """The encoder's ONNX file alone, in any precision."""
    from export.checkpoint import Checkpoint
    from export.hub import resolve
    from export.versions import encoder_room, version_folder

    checkpoint = Checkpoint(resolve(arguments.checkpoint).folder)
    folder = version_folder(arguments.repository, encoder_room(arguments.fast), arguments.version)
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
