"""python -m export.tiny prepare | train | evaluate: make the tiny checkpoints again, from recordings to weights.

Every command goes on where it was stopped. Work files lie under --work; the finished checkpoints beside this file.
"""

from __future__ import annotations

import argparse
import logging
import shutil
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
# The recipe: first without one human speaker, to know how a stranger is understood; then on with everybody.
HELD_OUT_SPEAKER = "jackson"
# Stage, its pool, steps, learning rate; the smaller one needs more steps to be of use as a draft.
STAGES = {
    "tiny": [("held-out", "held-out", 6500, 1.5e-3), ("final", "final", 3000, 1.0e-3)],
    "tiny-fast": [
        ("held-out", "held-out", 6500, 1.5e-3),
        ("final", "final", 3000, 1.0e-3),
        ("longer", "final", 4000, 8.0e-4),
    ],
}
# Shards of 500 utterances, seed, share of clips of up to a minute.
POOLS = {"held-out": (40, 1, 0.0), "final": (16, 2, 0.04)}


def leave_out(stage: str) -> str | None:
    return HELD_OUT_SPEAKER if stage == "held-out" else None


def prepare(arguments: argparse.Namespace) -> None:
    from export.tiny.pool import make_pool
    from export.tiny.voices import prepare_banks

    prepare_banks(arguments.speech, arguments.work / "banks")
    for stage, (shards, seed, long_share) in POOLS.items():
        make_pool(
            arguments.work / "pools" / stage, arguments.work / "banks", leave_out(stage), shards, seed, long_share
        )


def train(arguments: argparse.Namespace) -> None:
    import torch

    from export.tiny.pool import load_pool
    from export.tiny.training import train as run_training

    torch.set_num_threads(arguments.threads)
    previous: Path | None = None
    for stage, pool, steps, rate in STAGES[arguments.size]:
        run = arguments.work / "runs" / f"{arguments.size}-{stage}"
        examples = load_pool(arguments.work / "pools" / pool)
        run_training(arguments.size, examples, run, steps, rate, previous, seed=0)
        previous = run
    target = HERE / arguments.size
    target.mkdir(exist_ok=True)
    for file in (run / "checkpoint").iterdir():
        shutil.copy(file, target / file.name)


def evaluate(arguments: argparse.Namespace) -> None:
    from export.tiny.evaluation import evaluate as run_evaluation

    folders = {}
    for size in ("tiny", "tiny-fast"):
        folders[size] = HERE / size
        folders[f"{size}-held-out"] = arguments.work / "runs" / f"{size}-held-out" / "checkpoint"
    found = {name: folder for name, folder in folders.items() if (folder / "config.json").is_file()}
    run_evaluation(arguments.work, HELD_OUT_SPEAKER, found, arguments.json)


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = argparse.ArgumentParser(prog="python -m export.tiny", description=__doc__)
    parser.add_argument("command", choices=["prepare", "train", "evaluate"])
    parser.add_argument("--size", choices=["tiny", "tiny-fast"], default="tiny")
    parser.add_argument(
        "--speech", type=Path, default=ROOT.parent / "shared" / "speech", help="folder of fsdd/recordings"
    )
    parser.add_argument("--work", type=Path, default=ROOT / ".cache" / "tiny", help="banks, pools and runs")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path, help="write the evaluation's figures here as well")
    arguments = parser.parse_args()
    {"prepare": prepare, "train": train, "evaluate": evaluate}[arguments.command](arguments)


if __name__ == "__main__":
    main()
