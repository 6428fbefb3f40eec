"""What Triton loads of the room that tells speakers apart: its tensors and parameters; then the adapter, which answers.

Triton imports this file twice, at first only to ask for the tensors: what takes long to import waits for `initialize`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .declaration import complete
from .parameters import Parameters
from .tensors import INPUTS, OUTPUTS


class TritonPythonModel:
    @staticmethod
    def auto_complete_config(config: Any) -> Any:
        return complete(config, INPUTS, OUTPUTS)

    def initialize(self, args: dict[str, str]) -> None:
        parameters = Parameters.read(args["model_config"])

        from .adapter import Adapter

        self._adapter = Adapter(parameters, Path(__file__).parent, args)

    def execute(self, requests: list[Any]) -> None:
        self._adapter.execute(requests)

    def finalize(self) -> None:
        self._adapter.finalize()
