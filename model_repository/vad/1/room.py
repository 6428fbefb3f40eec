"""What rooms have in common that work in turns: requests become jobs, and each is answered, whatever happens.

`vad`, `features` and `encoder` have this file, by links.
"""

from __future__ import annotations

from typing import Any, Generic

import triton_python_backend_utils as pb_utils

from .answers import Answer
from .room_metrics import RoomMetrics
from .turns import J, RoomFull, Turns

CLOSE_S = 5.0


class Room(Generic[J]):
    """A room gives its name and says what job a request is."""

    # In messages of what fails; also of a small checkpoint's room, which has this code.
    name: str

    def __init__(self, turns: Turns[J], args: dict[str, str]) -> None:
        """args: of the instance, as Triton gives them."""
        self._turns = turns
        self._metrics = RoomMetrics(pb_utils, turns.counts, args["model_name"], args["model_instance_name"])

    def job(self, request: Any, answer: Answer) -> J | None:
        """What is to be done for a request, or None where it is answered already. Raises ValueError where the request
        is at fault."""
        raise NotImplementedError

    def execute(self, requests: list[Any]) -> None:
        for request in requests:
            answer = Answer(request)
            try:
                job = self.job(request, answer)
                if job is not None:
                    self._turns.add(job)
            except ValueError as error:
                answer.refuse(str(error))
            except RoomFull as error:
                answer.put_off(str(error))
            except Exception as error:
                pb_utils.Logger.log_error(f"{self.name} failed: {error!r}")
                answer.fail(f"{self.name} failed: {error}")

    def finalize(self) -> None:
        self._turns.close(CLOSE_S)
        self._metrics.close()
