"""A TensorRT plan and the record beside it: what it was built from, by and for.

A plan runs only by the version of TensorRT and on the kind of GPU that it was built with. TensorRT's own refusal names
neither, so the record is compared first, and the refusal says what to run.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from export.command_line import export_command, place_words
from export.errors import ExportError
from export.files import staged


@dataclass(frozen=True)
class Profile:
    """An optimization profile: frames from..to, and the blocks it is made for (smallest, most frequent, largest)."""

    frames: tuple[int, int, int]
    blocks: tuple[int, int, int]


# Full blocks are what files are made of; a live stream's newest block is shorter, 200 or 400 frames. Triton makes an
# execution context for each profile, whose memory goes with blocks times frames: a short one that took 800 would cost
# as much as the full one.
FULL = Profile(frames=(800, 800, 800), blocks=(1, 8, 32))
SHORT = Profile(frames=(100, 200, 400), blocks=(1, 8, 32))
PROFILES = (FULL, SHORT)


def profile_for(frames: int) -> int:
    """The number of the profile for blocks of this length. Raises ExportError where the plan has none: such a block is
    sent with 800 frames, of which the last are not valid."""
    for number, profile in enumerate(PROFILES):
        if profile.frames[0] <= frames <= profile.frames[2]:
            return number
    raise ExportError(f"plans take blocks of 800 frames, or of 100 to {SHORT.frames[2]}, not {frames}")


@dataclass(frozen=True)
class PlanRecord:
    """capability: of the GPU, such as 8.9; the sha256 are of the plan itself, the ONNX file and the checkpoint."""

    tensorrt: str
    gpu: str
    capability: str
    precision: str
    quantization: str
    profiles: list[dict[str, Any]]
    plan_sha256: str
    onnx_sha256: str
    weights_sha256: str

    @property
    def max_blocks(self) -> int:
        """Blocks that every profile of the plan takes at once."""
        return min((int(one["blocks"][2]) for one in self.profiles), default=0)

    def write(self, plan: Path) -> None:
        with staged(record_of(plan)) as folder:
            (folder / record_of(plan).name).write_text(json.dumps(asdict(self), indent=2) + "\n")

    @staticmethod
    def read(plan: Path) -> PlanRecord:
        """Raises ExportError where there is none, or it is not whole."""
        path = record_of(plan)
        try:
            return PlanRecord(**json.loads(path.read_text()))
        except FileNotFoundError as error:
            raise ExportError(f"{path} is missing: {build_words(plan)}") from error
        except (TypeError, ValueError) as error:
            raise ExportError(f"{path} is no record of a plan: {build_words(plan)}") from error


def record_of(plan: Path) -> Path:
    return plan.with_name(plan.name + ".json")


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        digest = hashlib.sha256()
        while part := file.read(1 << 24):
            digest.update(part)
    return digest.hexdigest()


@dataclass(frozen=True)
class Here:
    """What a plan would run by and on."""

    tensorrt: str
    gpu: str
    capability: str


def here() -> Here:
    """Raises ExportError where there is no TensorRT or no GPU."""
    import torch

    installed = tensorrt_version()

    if not torch.cuda.is_available():
        raise ExportError("there is no GPU here that PyTorch can see")
    major, minor = torch.cuda.get_device_capability()
    return Here(installed, torch.cuda.get_device_name(), f"{major}.{minor}")


def tensorrt_version() -> str:
    """Major, minor and patch of the library that serves; it needs no Python package. ExportError without one."""
    for name in ("libnvinfer.so.11", "libnvinfer.so.10"):
        try:
            library = ctypes.CDLL(name)
        except OSError:
            continue
        number = int(library.getInferLibVersion())
        return f"{number // 10_000}.{number // 100 % 100}.{number % 100}"
    return ".".join(import_tensorrt().__version__.split(".")[:3])


def import_tensorrt() -> Any:
    try:
        import tensorrt  # type: ignore[import-not-found]
    except ImportError as error:
        raise ExportError(
            "TensorRT is not installed here: build where the server's version of it is (in the containers: "
            "`docker compose run --rm exporter tensorrt`); `--dry-run` checks the graph anywhere"
        ) from error
    return tensorrt


def check_plan(plan: Path, now: Here, max_batch_size: int = 1) -> PlanRecord:
    """The plan's record; ExportError where the plan cannot run `now`, takes fewer blocks at once than `max_batch_size`,
    or is another file than the record's."""
    if not plan.is_file():
        raise ExportError(f"{plan} is missing: {build_words(plan)}")
    record = PlanRecord.read(plan)
    if record.tensorrt != now.tensorrt:
        raise ExportError(
            f"{plan} was built by TensorRT {record.tensorrt}; here is {now.tensorrt}: {build_words(plan)}"
        )
    if record.capability != now.capability:
        raise ExportError(
            f"{plan} was built for compute capability {record.capability} ({record.gpu}); here is {now.capability} "
            f"({now.gpu}): {build_words(plan)}"
        )
    if record.max_blocks < max_batch_size:
        raise ExportError(
            f"{plan} takes {record.max_blocks} blocks at once; its configuration promises {max_batch_size}: "
            f"{build_words(plan)}"
        )
    if record.plan_sha256 != sha256(plan):
        raise ExportError(f"{plan} is not the file that its record describes: {build_words(plan)}")
    onnx = plan.with_name("model.onnx")
    if onnx.is_file() and record.onnx_sha256 != sha256(onnx):
        raise ExportError(f"{plan} was built from another model.onnx than the one beside it: {build_words(plan)}")
    return record


def load_plan(plan: Path) -> Any:
    """The engine of a plan that fits here; ExportError where it does not."""
    check_plan(plan, here())
    trt = import_tensorrt()
    engine = trt.Runtime(trt.Logger(trt.Logger.WARNING)).deserialize_cuda_engine(plan.read_bytes())
    if engine is None:
        raise ExportError(f"TensorRT could not read {plan}: {build_words(plan)}")
    return engine


def build_words(plan: Path) -> str:
    """What to do about a plan that does not fit: the command that builds just this one."""
    return f"build it on the GPU that serves by {export_command('tensorrt', *place_words(plan.parent))}"
