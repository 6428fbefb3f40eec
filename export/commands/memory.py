"""The command that adds up what a profile takes of a GPU."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from export.errors import ExportError
from export.rooms import MODEL_REPOSITORY
from export.sizing.dimensions import ALIGNERS, SIZES, Checkpoint, read_dimensions
from export.sizing.gpus import GPUS

if TYPE_CHECKING:
    from export.sizing.profile_memory import ProfileMemory


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--profile", default="tensorrt", help="as the server's --model-config-name")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--gpu", choices=GPUS, default="rtx4090", help="the kind of GPU")
    where.add_argument("--gpu-mb", type=int, help="one of so many MiB")
    exported = "left out: what is exported"
    parser.add_argument("--checkpoint", choices=SIZES, help=exported)
    parser.add_argument("--fast-checkpoint", choices=SIZES, help=f"the smaller of two sizes; {exported}")
    parser.add_argument(
        "--aligner", choices=ALIGNERS, help="count a forced aligner of this size; left out: the exported one"
    )
    parser.add_argument("--repository", type=Path, default=MODEL_REPOSITORY)


def memory(arguments: Namespace) -> bool:
    """What a profile takes of a GPU's memory, part by part, and whether it fits; estimated, no GPU needed."""
    # Reads configurations by Triton's own messages, which the other commands need not wait for.
    from export.sizing.profile_memory import MIB, memory_of_profile

    large = _dimensions(arguments.checkpoint, arguments.repository, "decoder")
    fast = large
    try:
        fast = _dimensions(arguments.fast_checkpoint, arguments.repository, "decoder_fast")
    except ExportError:
        if arguments.fast_checkpoint or arguments.profile.endswith(("two_sizes", "speculative")):
            raise
    aligner = ALIGNERS[arguments.aligner] if arguments.aligner else None
    if not aligner and (arguments.repository / "aligner" / "1" / "checkpoint" / "config.json").is_file():
        aligner = _dimensions(None, arguments.repository, "aligner")
    total = (arguments.gpu_mb or GPUS[arguments.gpu].memory_mb) * MIB
    has_flash = bool(arguments.gpu_mb) or GPUS[arguments.gpu].has_flash
    found = memory_of_profile(arguments.repository, arguments.profile, total, large, fast, aligner, has_flash=has_flash)
    name = f"a GPU of {arguments.gpu_mb} MiB" if arguments.gpu_mb else GPUS[arguments.gpu].name
    print(told(found, f"{arguments.profile}, {large.name}, {name}"))
    if found.missing:
        share = min((found.fitting_share(one.device) for one in found.caches), default=0)
        advice = f"; with kv_cache_mb {share}% in each decoder's configuration it would" if share > 1 else ""
        raise ExportError(f"it does not fit: {_gib(found.missing)} GiB too much{advice}")
    return False


def told(found: ProfileMemory, title: str) -> str:
    """A table of the parts in GiB, and how far each cache may differ from it."""
    lines = [f"{title}; estimated, in GiB"]
    for device in found.devices:
        here = [part for part in found.parts if part.device == device]
        lines += [f"  GPU {device}  {part.model:<17}{part.what:<42}{_gib(part.size):>6}" for part in here]
        lines += [f"  GPU {device}  {'sum':<59}{_gib(found.used(device)):>6} of {_gib(found.gpu_bytes)}"]
    for one in found.caches:
        least = f"{_gib(one.at_least)} GiB ({one.sequences(one.at_least)})" if one.at_least else "too little to start"
        lines += [
            f"  {one.model}: the cache holds {one.sequences(one.at_most)} sequences of 30 s at their longest where the "
            f"decoder is loaded first, and is {least} where it is last"
        ]
    return "\n".join(lines)


def _dimensions(size: str | None, repository: Path, model: str) -> Checkpoint:
    return SIZES[size] if size else read_dimensions(repository / model / "1" / "checkpoint", "what is exported")


def _gib(size: int) -> str:
    return f"{size / 2**30:.1f}"
