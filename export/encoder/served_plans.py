"""Which plans a server of a profile loads: as Triton picks configurations and versions.

It runs before every start of the server, in images without CUDA as well, so it imports no torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from export.errors import ExportError


@dataclass(frozen=True)
class ServedPlan:
    """A plan that a server loads, or would if it were there, and the blocks that its configuration promises."""

    plan: Path
    max_batch_size: int

    @property
    def is_optional(self) -> bool:
        """Of the smaller of two sizes or of the aligner, which not every server loads."""
        return self.plan.parents[1].name.endswith(("_fast", "_aligner"))


def served_plans(repository: Path, profile: str = "") -> list[ServedPlan]:
    """The plans of all encoders whose configuration of `profile` (empty: the default) is TensorRT's, of the versions
    that its policy loads. Raises ExportError where a configuration cannot be read."""
    found = []
    for room in sorted(repository.glob("encoder*")):
        path = room / "configs" / f"{profile}.pbtxt"
        path = path if profile and path.is_file() else room / "config.pbtxt"
        if not path.is_file():
            continue
        config = read_config(path)
        if uses_tensorrt(config):
            found += [
                ServedPlan(room / str(version) / "model.plan", config.max_batch_size)
                for version in _versions(room, config)
            ]
    return found


def max_batch_size(repository: Path, room: str) -> int:
    """The most blocks that any TensorRT configuration of an encoder promises; 1 where there is none."""
    # The smaller size's folder of configurations is a link, which "**" does not enter.
    paths = [path for pattern in ("*.pbtxt", "configs/*.pbtxt") for path in (repository / room).glob(pattern)]
    return max((one.max_batch_size for one in map(read_config, paths) if uses_tensorrt(one)), default=1)


def uses_tensorrt(config: Any) -> bool:
    return config.backend == "tensorrt" or config.platform == "tensorrt_plan"


def read_config(path: Path) -> Any:
    """A config.pbtxt as Triton reads it."""
    from google.protobuf import text_format
    from tritonclient.grpc import model_config_pb2

    try:
        return text_format.Parse(path.read_text(encoding="utf-8"), model_config_pb2.ModelConfig())
    except (text_format.ParseError, UnicodeDecodeError) as error:
        raise ExportError(f"{path} cannot be read: {error}") from error


def _versions(room: Path, config: Any) -> list[int]:
    there = sorted(int(one.name) for one in room.iterdir() if one.is_dir() and one.name.isdigit())
    policy = config.version_policy
    kind = policy.WhichOneof("policy_choice")
    if kind == "all":
        return there
    if kind == "specific":
        return [version for version in there if version in policy.specific.versions]
    return there[-max(1, policy.latest.num_versions) :]
