"""A request's answer in a room that answers from a thread of its own, after `execute` has returned."""

from __future__ import annotations

from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils
from numpy.typing import NDArray


class Answer:
    """Given once, from any thread, one at a time: Triton frees the sender with it."""

    def __init__(self, request: Any) -> None:
        self._sender = request.get_response_sender()
        self._given = False

    def give(self, **tensors: NDArray[Any]) -> None:
        """tensors: by the outputs' names."""
        self._send(
            pb_utils.InferenceResponse(
                [pb_utils.Tensor(name, np.ascontiguousarray(value)) for name, value in tensors.items()]
            )
        )

    def refuse(self, message: str) -> None:
        """The request was at fault."""
        # A stream's answer carries the message alone, so the code that clients sort errors by stands in it as well.
        self._send(_error(f"INVALID_ARGUMENT: {message}", pb_utils.TritonError.INVALID_ARG))

    def put_off(self, message: str) -> None:
        """The same request may be answered later."""
        self._send(_error(f"UNAVAILABLE: {message}", pb_utils.TritonError.UNAVAILABLE))

    def fail(self, message: str) -> None:
        self._send(_error(message, pb_utils.TritonError.INTERNAL))

    def is_cancelled(self) -> bool:
        return not self._given and bool(self._sender.is_cancelled())

    def _send(self, response: Any) -> None:
        if self._given:
            return
        self._given = True
        try:
            self._sender.send(response, flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)
        except Exception as error:
            # The client has left.
            pb_utils.Logger.log_warn(f"a request could not be answered: {error}")


def _error(message: str, code: int) -> Any:
    return pb_utils.InferenceResponse(error=pb_utils.TritonError(message, code))
