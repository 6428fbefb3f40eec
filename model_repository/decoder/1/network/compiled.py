"""A step's layers, compiled for each shape they are run in."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

logger = logging.getLogger(__name__)


class Compiled:
    """A function of a step, compiled at the first use of each shape. Where one cannot be compiled, all run as they are
    from then on, and the log says so: a request does not end for it."""

    def __init__(self, run: Callable[..., Tensor], num_shapes: int) -> None:
        """num_shapes: how many `run` is called in. PyTorch would stop at eight of one function, whoever calls it."""
        self._run = run
        # PyTorch's own declaration of `compile` leaves these two out.
        limits: dict[str, Any] = {"recompile_limit": num_shapes, "isolate_recompiles": True}
        # Every shape is one of its own, so nothing is made dynamic.
        self._compiled: Callable[..., Tensor] | None = torch.compile(run, dynamic=False, fullgraph=True, **limits)

    def __call__(self, *arguments: Any) -> Tensor:
        if self._compiled is None:
            return self._run(*arguments)
        try:
            return self._compiled(*arguments)
        except (torch._dynamo.exc.TorchDynamoException, torch._dynamo.exc.FailOnRecompileLimitHit):
            # Nothing of the step has run: the compiler is asked before.
            logger.exception("a step cannot be compiled: all run as they are, slower")
            self._compiled = None
            return self._run(*arguments)
