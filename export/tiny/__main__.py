"""python -m export.tiny prepare | train | evaluate: make the tiny checkpoints again, from recordings to weights.

Every command goes on where it was stopped. Work files lie under --work; the finished checkpoints beside this file.
"""

from __future__ import annotations

import argparse
import logging
import shutil
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
# The recipe: first without one human speaker, to know how a stranger is understood; then on with everybody.
HELD_OUT_SPEAKER = "jackson"


@dataclass(frozen=True)
class Stage:
    """One training run: its pools, steps, learning rate, the stage it goes on from and the run it learns from."""

    name: str
    pools: tuple[str, ...]
    steps: int
    rate: float
    after: str | None = None
    teacher: tuple[str, str] | None = None


TEACHER = "tiny"
# The last stage of a size is what ships. The smaller one learns from the larger one's answers in the end.
STAGES = {
    "tiny": [
        Stage("held-out", ("held-out",), 6500, 1.5e-3),
        Stage("final", ("final",), 3000, 1.0e-3, after="held-out"),
    ],
    "tiny-fast": [
        Stage("held-out", ("held-out",), 6500, 1.5e-3),
        Stage("held-out-taught", ("held-out",), 3500, 1.5e-3, after="held-out", teacher=(TEACHER, "held-out")),
        Stage("final", ("final",), 3000, 1.0e-3, after="held-out"),
        Stage("longer", ("final",), 4000, 8.0e-4, after="final"),
        Stage("taught", ("held-out", "final"), 3500, 1.5e-3, after="longer", teacher=(TEACHER, "final")),
    ],
}
# The stages that never heard one of the people, by size.
STRANGERS = {"tiny": "held-out", "tiny-fast": "held-out-taught"}
# Shards of 500 utterances, seed, share of clips of up to a minute.
POOLS = {"held-out": (40, 1, 0.0), "final": (16, 2, 0.04)}


ALIGNER = "tiny-aligner"
# It never hears the stranger, at any stage: there is one model of it. Shards of 500 utterances, seed; steps of its
# encoder, and of what tells the times.
TIMED_POOL, ENCODER_STEPS, TIME_STEPS = (24, 3), 3_000, 6_000


def leave_out(stage: str) -> str | None:
    return HELD_OUT_SPEAKER if stage == "held-out" else None


def prepare(arguments: argparse.Namespace) -> None:
    from export.tiny.pool import make_pool
    from export.tiny.voices import prepare_banks

    prepare_banks(arguments.speech, arguments.work / "banks")
    if arguments.size == ALIGNER:
        from export.tiny.timed_pool import make_timed_pool

        make_timed_pool(arguments.work / "pools" / "timed", arguments.work / "banks", HELD_OUT_SPEAKER, *TIMED_POOL)
        return
    for stage, (shards, seed, long_share) in POOLS.items():
        make_pool(
            arguments.work / "pools" / stage, arguments.work / "banks", leave_out(stage), shards, seed, long_share
        )


def train(arguments: argparse.Namespace) -> None:
    import torch

    torch.set_num_threads(arguments.threads)
    runs = arguments.work / "runs"
    if arguments.size == ALIGNER:
        train_aligner(arguments.work / "pools" / "timed", runs)
        return

    from export.tiny.pool import load_pool
    from export.tiny.training import train as run_training

    for stage in STAGES[arguments.size]:
        if arguments.stage not in (None, stage.name):
            continue
        run = runs / f"{arguments.size}-{stage.name}"
        examples = [example for pool in stage.pools for example in load_pool(arguments.work / "pools" / pool)]
        after = None if stage.after is None else runs / f"{arguments.size}-{stage.after}"
        teacher = None if stage.teacher is None else (stage.teacher[0], runs / "-".join(stage.teacher))
        for needed in (after, teacher and teacher[1]):
            if needed is not None and not (needed / "state.pt").is_file():
                raise SystemExit(f"{needed} is missing: train it first (a teacher by `train --size {TEACHER}`)")
        run_training(arguments.size, examples, run, stage.steps, stage.rate, after, seed=0, teacher=teacher)
    last = STAGES[arguments.size][-1]
    if arguments.stage not in (None, last.name):
        return
    ship(runs / f"{arguments.size}-{last.name}" / "checkpoint", arguments.size)


def train_aligner(pool: Path, runs: Path) -> None:
    from export.tiny.aligner_training import train_encoder, train_times
    from export.tiny.timed_pool import load_timed_pool

    examples = load_timed_pool(pool)
    encoder, times = runs / f"{ALIGNER}-encoder", runs / f"{ALIGNER}-times"
    train_encoder(examples, encoder, ENCODER_STEPS, seed=0)
    train_times(examples, encoder, times, TIME_STEPS, seed=0)
    ship(times / "checkpoint", ALIGNER)


def ship(checkpoint: Path, size: str) -> None:
    target = HERE / size
    target.mkdir(exist_ok=True)
    for file in checkpoint.iterdir():
        shutil.copy(file, target / file.name)


def evaluate(arguments: argparse.Namespace) -> None:
    if arguments.size == ALIGNER:
        from export.tiny.aligner_evaluation import evaluate_aligner

        evaluate_aligner(arguments.work / "banks", HELD_OUT_SPEAKER, HERE / ALIGNER, arguments.json)
        return

    from export.tiny.evaluation import evaluate as run_evaluation

    folders = {}
    for size in ("tiny", "tiny-fast"):
        folders[size] = HERE / size
        folders[f"{size}-held-out"] = arguments.work / "runs" / f"{size}-{STRANGERS[size]}" / "checkpoint"
    found = {name: folder for name, folder in folders.items() if (folder / "config.json").is_file()}
    run_evaluation(arguments.work, HELD_OUT_SPEAKER, found, arguments.json)


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = argparse.ArgumentParser(prog="python -m export.tiny", description=__doc__)
    parser.add_argument("command", choices=["prepare", "train", "evaluate"])
    parser.add_argument("--size", choices=["tiny", "tiny-fast", ALIGNER], default="tiny")
    parser.add_argument("--stage", help="train this stage alone, whose predecessors are there")
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
