"""One run of training that goes on where it was stopped: optimizer, schedule, saving, what is shown of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

Batch = TypeVar("Batch")

SAVE_EVERY = 250
WARM_UP = 300


class Run:
    """Trains `parameters` of a model; its state lies in `folder`/state.pt."""

    def __init__(
        self, model: nn.Module, parameters: Iterable[nn.Parameter], folder: Path, steps: int, rate: float
    ) -> None:
        self.model, self.folder, self.steps = model, folder, steps
        self.parameters = list(parameters)
        self.optimizer = torch.optim.AdamW(self.parameters, lr=rate, betas=(0.9, 0.98), weight_decay=0.02)
        self.schedule = torch.optim.lr_scheduler.LambdaLR(
            self.optimizer,
            lambda step: (
                min(1.0, (step + 1) / WARM_UP) * (0.5 + 0.5 * float(np.cos(np.pi * min(1.0, step / steps)))) + 0.003
            ),
        )
        folder.mkdir(parents=True, exist_ok=True)
        self._saved = folder / "state.pt"
        self.first = 0
        if self._saved.exists():
            state = torch.load(self._saved, weights_only=True)
            model.load_state_dict(state["model"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.schedule.load_state_dict(state["schedule"])
            self.first = state["step"]

    def go(self, source: Iterator[Batch], losses: Callable[[Batch], tuple[Tensor, dict[str, float]]]) -> None:
        """Take a step for each of what `source` gives. losses: the loss of a batch, and figures to show."""
        mean: dict[str, float] = {}
        self.model.train()
        progress = tqdm(range(self.first, self.steps), desc=self.folder.name, mininterval=20.0)
        for step in progress:
            with torch.autocast("cpu", dtype=torch.bfloat16):
                loss, figures = losses(next(source))
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(self.parameters, 1.0)
            self.optimizer.step()
            self.schedule.step()
            for name, value in figures.items():
                mean[name] = value if name not in mean else mean[name] + 0.02 * (value - mean[name])
            if step % 50 == 0:
                progress.set_postfix({name: f"{value:.3f}" for name, value in mean.items()})
            if (step + 1) % SAVE_EVERY == 0 or step + 1 == self.steps:
                state = {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict()}
                state |= {"schedule": self.schedule.state_dict(), "step": step + 1}
                torch.save(state, self._saved.with_suffix(".new"))
                self._saved.with_suffix(".new").replace(self._saved)
