"""Requests that a model's process took with it when it died: whoever waits for them is told so.

Triton leaves a request unanswered that was handed over before, also when the model is back; it would be waited for as
long as a step may take.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import Any

import grpc
from tritonclient.grpc import service_pb2, service_pb2_grpc

from .processes import Processes
from .wire import Wire

logger = logging.getLogger(__name__)

LOOK_S = 0.5
CONFIG_S = 1.0
PYTHON = "python"


class Losses:
    """Made and used on one event loop."""

    def __init__(self, channel: Any, wire: Wire, processes: Processes) -> None:
        """wire: by which the models are asked."""
        self._stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        self._wire = wire
        self._processes = processes
        # Of each model that is asked, those within it that have processes.
        self._within: dict[str, set[str]] = {}

    async def watch(self) -> None:
        """Until it is cancelled. Nothing is looked at while nobody waits."""
        while True:
            await asyncio.sleep(LOOK_S)
            try:
                if models := self._wire.asked():
                    await self._look(models)
            except Exception:
                logger.exception("the models' processes could not be looked at")

    async def _look(self, models: set[str]) -> None:
        for model in models - self._within.keys():
            await self._ask_within(model)
        within = {model: self._within.get(model, set()) for model in models}
        loop = asyncio.get_running_loop()
        gone = await loop.run_in_executor(None, self._processes.gone, set().union(*within.values()))
        for model, parts in within.items():
            if lost := parts & gone.keys():
                self._wire.give_up(model, max(gone[one] for one in lost), lost)
                # It may come back as one that has no process.
                await self._ask_within(model)

    async def _ask_within(self, model: str) -> None:
        """Where the server does not say, what it said before holds."""
        with contextlib.suppress(grpc.aio.AioRpcError):
            config = await self._config(model)
            names = [step.model_name for step in config.ensemble_scheduling.step]
            configs = [await self._config(name) for name in names] if names else [config]
            self._within[model] = {one.name for one in configs if one.backend == PYTHON}

    async def _config(self, model: str) -> Any:
        return (await self._stub.ModelConfig(service_pb2.ModelConfigRequest(name=model), timeout=CONFIG_S)).config
