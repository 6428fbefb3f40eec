"""python -m export COMMAND: make what the rooms of the model repository load."""

from __future__ import annotations

import argparse
import logging
import sys
import time
from pathlib import Path

from export.errors import ExportError
from export.rooms import MODEL_REPOSITORY


def export_all(arguments: argparse.Namespace) -> None:
    from export.checkpoint import Checkpoint, resolve
    from export.decoder import export_decoder
    from export.encoder import export_encoder
    from export.vad import export_vad
    from export.warm_up import export_warm_up

    repository: Path = arguments.repository
    checkpoint = Checkpoint(resolve(arguments.checkpoint))
    started = time.monotonic()
    suffix = "_fast" if arguments.fast else ""
    encoder = repository / f"encoder{suffix}" / "1" / "model.onnx"
    verified = export_encoder(checkpoint, encoder)
    print(
        f"encoder  {encoder} ({encoder.stat().st_size / 1e6:.1f} MB): largest difference from PyTorch "
        f"{verified.max_abs_diff:.1e} in embeddings up to {verified.max_abs:.1f}"
    )
    decoder = repository / f"decoder{suffix}" / "1" / "checkpoint"
    print(f"decoder  {decoder} ({export_decoder(checkpoint, decoder) / 1e6:.1f} MB of weights)")
    vad = repository / "vad" / "1" / "silero_vad.onnx"
    export_vad(vad)
    export_warm_up(repository)
    print(f"vad      {vad}\ndone in {time.monotonic() - started:.1f} s")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m export", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    everything = commands.add_parser("all", help="encoder ONNX, decoder checkpoint and VAD from one checkpoint")
    everything.add_argument("checkpoint", help="a folder, or a hub id such as Qwen/Qwen3-ASR-0.6B")
    everything.add_argument("--repository", type=Path, default=MODEL_REPOSITORY, help="the model repository to fill")
    everything.add_argument("--fast", action="store_true", help="fill encoder_fast and decoder_fast instead")
    everything.set_defaults(run=export_all)
    arguments = parser.parse_args()
    # The exporter and its libraries talk much; what matters is printed here.
    logging.disable(logging.WARNING)
    try:
        arguments.run(arguments)
    except ExportError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
