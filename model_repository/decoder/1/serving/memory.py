"""What memory there is: of the machine, of the control group that a container is held by, and of a GPU."""

from __future__ import annotations

from pathlib import Path

import torch

from .budget import Memory

# Above any machine's memory: how version 1 of control groups says that there is no limit.
UNLIMITED = 1 << 60


def memory_of(device: torch.device) -> Memory:
    """Total and free memory of a device, now."""
    if device.type == "cuda":
        # What PyTorch keeps from loading the weights is free as well.
        torch.cuda.empty_cache()
        free, total = torch.cuda.mem_get_info(device)
        return Memory("gpu", total, free)
    return host_memory(Path("/"))


def host_memory(root: Path) -> Memory:
    """The machine's, or the control group's where that leaves less. root: `/`, or a copy of its proc and sys."""
    machine = _fields(root / "proc" / "meminfo")
    total, free = machine.get("MemTotal:", 0) * 1024, machine.get("MemAvailable:", 0) * 1024
    for limit, used in _groups(root):
        total, free = min(total, limit), min(free, max(0, limit - used))
    return Memory("cpu", total, free)


def _groups(root: Path) -> list[tuple[int, int]]:
    """Limit and use of every memory control group that this process is in and can see, of both versions."""
    found = []
    for line in _text(root / "proc" / "self" / "cgroup").splitlines():
        _, controllers, name = line.split(":", 2)
        if controllers == "":
            base, limit, used = root / "sys/fs/cgroup", "memory.max", "memory.current"
        elif "memory" in controllers.split(","):
            base, limit, used = root / "sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes"
        else:
            continue
        # In a container the group's own name is often not to be seen, and its root is the group.
        path = Path(name.strip("/"))
        for folder in {base, *(base / part for part in (path, *path.parents))}:
            most = _text(folder / limit).strip()
            if most.isdigit() and int(most) < UNLIMITED:
                # Pages of files that nobody uses are given back when somebody wants them.
                reclaimable = _fields(folder / "memory.stat")
                kept = reclaimable.get("total_inactive_file", reclaimable.get("inactive_file", 0))
                found.append((int(most), max(0, int(_text(folder / used).strip() or 0) - kept)))
    return found


def _fields(path: Path) -> dict[str, int]:
    """The first two words of each line: a name and a number."""
    rows = (line.split() for line in _text(path).splitlines())
    return {row[0]: int(row[1]) for row in rows if len(row) > 1 and row[1].isdigit()}


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
