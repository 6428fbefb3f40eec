"""What is asked of a Triton itself: its name, which models it has and how they are, and to load and unload them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import grpc
from tritonclient.grpc import service_pb2, service_pb2_grpc

from frontend.triton import control
from frontend.triton.errors import ControlRefused, TritonUnavailable, details, refused, unavailable


class ServerCalls:
    """Over one channel."""

    def __init__(self, channel: grpc.aio.Channel, control_key: Callable[[], str]) -> None:
        """control_key: gives the secret of Triton's control services, "" where they ask for none."""
        self._control_key = control_key
        self._stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)

    @property
    def stub(self) -> Any:
        """The calls of Triton's gRPC service."""
        return self._stub

    async def server_metadata(self, timeout_s: float = 2.0) -> dict[str, str]:
        """Name and version of the server; TritonUnavailable where there is none."""
        try:
            answer = await self._stub.ServerMetadata(service_pb2.ServerMetadataRequest(), timeout=timeout_s)
        except grpc.aio.AioRpcError as error:
            raise TritonUnavailable(details(error)) from error
        return {"name": answer.name, "version": answer.version}

    async def is_ready(self, model: str, timeout_s: float = 2.0) -> bool:
        """Whether the server is there and this model, with all it is made of, can answer."""
        try:
            answer = await self._stub.ModelReady(service_pb2.ModelReadyRequest(name=model), timeout=timeout_s)
        except grpc.aio.AioRpcError:
            return False
        return bool(answer.ready)

    async def repository(self, timeout_s: float = 2.0) -> dict[str, str]:
        """State of every model in the repository, by name. Raises ControlRefused or TritonUnavailable."""
        try:
            request = service_pb2.RepositoryIndexRequest()
            answer = await self._stub.RepositoryIndex(request, timeout=timeout_s, metadata=self._control())
        except grpc.aio.AioRpcError as error:
            raise unavailable(error) from error
        return {model.name: model.state or "UNLOADED" for model in answer.models}

    async def load(self, model: str, timeout_s: float) -> None:
        """Load a model, and what it is made of. Raises TritonRefused or TritonUnavailable."""
        request = service_pb2.RepositoryModelLoadRequest(model_name=model)
        await self._managed(self._stub.RepositoryModelLoad(request, timeout=timeout_s, metadata=self._control()))

    async def unload(self, model: str, timeout_s: float = 60.0, *, alone: bool = False) -> None:
        """Unload a model, and what it is made of, or that one alone."""
        request = service_pb2.RepositoryModelUnloadRequest(model_name=model)
        request.parameters["unload_dependents"].bool_param = not alone
        await self._managed(self._stub.RepositoryModelUnload(request, timeout=timeout_s, metadata=self._control()))

    async def counts(self, model: str, timeout_s: float = 2.0) -> tuple[int, int] | None:
        """How often a model has computed, and how many requests have failed in it; None where that is not told."""
        try:
            request = service_pb2.ModelStatisticsRequest(name=model)
            answer = await self._stub.ModelStatistics(request, timeout=timeout_s)
        except grpc.aio.AioRpcError:
            return None
        told = answer.model_stats
        return sum(int(one.execution_count) for one in told), sum(int(one.inference_stats.fail.count) for one in told)

    async def config(self, model: str, timeout_s: float = 2.0) -> Any:
        """A loaded model's configuration with all that Triton filled in. Raises TritonRefused or TritonUnavailable."""
        request = service_pb2.ModelConfigRequest(name=model)
        return (await self._managed(self._stub.ModelConfig(request, timeout=timeout_s))).config

    async def _managed(self, call: Any) -> Any:
        try:
            return await call
        except grpc.aio.AioRpcError as error:
            if error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
                raise unavailable(error) from error
            raise refused(error.details() or "") from error

    def _control(self) -> tuple[tuple[str, str], ...] | None:
        try:
            key = self._control_key()
        except control.NoControlKey as error:
            # Triton answers all the same: only its control is out of reach.
            raise ControlRefused(str(error)) from error
        return ((control.GRPC_HEADER, key),) if key else None
