"""How much memory an export needs, and how much there is."""

from __future__ import annotations

from pathlib import Path

from export.errors import ExportError

# A line through two measurements in export/README.md, of checkpoints in bfloat16: 1.56 GB of weights (0.6B) took 4.7 GB
# at the peak, 4.07 GB (1.7B) took 8.4 GB. The base is Python, PyTorch and ONNX Runtime with the encoder's graph; the
# factor is above 1 because the encoder is held in float32, as a graph, and as the file made of it.
PEAK_BASE_BYTES = 2_400_000_000
PEAK_FACTOR = 1.5
# Limits of the container, newest kind first: version 2 and 1 of control groups.
LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


def peak_bytes(weights_bytes: int) -> int:
    """What exporting a checkpoint of so many bytes of weights takes at its peak."""
    return PEAK_BASE_BYTES + int(PEAK_FACTOR * weights_bytes)


def available_bytes() -> int | None:
    """Memory that can be had without pushing others out, swap included, within the container's limit; None where the
    system does not tell."""
    try:
        fields = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
        available = sum(int(fields[name].split()[0]) << 10 for name in ("MemAvailable", "SwapFree"))
    except (OSError, KeyError, ValueError):
        return None
    return min([available, *(limit for limit in map(_limit, LIMITS) if limit is not None)])


def _limit(path: Path) -> int | None:
    try:
        # "max" where there is none.
        return int(path.read_text())
    except (OSError, ValueError):
        return None


def require_memory(what: str, weights_bytes: int) -> None:
    """Raise ExportError where exporting so many bytes of weights takes more memory than there is."""
    needed, available = peak_bytes(weights_bytes), available_bytes()
    if available is not None and available < needed:
        raise ExportError(
            f"exporting {what} takes about {needed / 1e9:.1f} GB of memory; {available / 1e9:.1f} GB are available"
        )
