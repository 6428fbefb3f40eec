"""A secret taken out of a running program's arguments, which everybody with an account may read (`ps`)."""

from __future__ import annotations

from pathlib import Path

# Fields of /proc/PID/stat after the program's name, which may hold spaces: where its arguments lie.
ARG_START, ARG_END = 48 - 3, 49 - 3


def hide(pid: int, secret: str) -> bool:
    """Write stars over `secret` in the arguments of a child that has read them; whether it can be read no more.

    Triton takes its secret by an argument alone. Linux lets a parent write into its child, unless it is told not to.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        start, end = int(fields[ARG_START]), int(fields[ARG_END])
        with Path(f"/proc/{pid}/mem").open("r+b", buffering=0) as memory:
            memory.seek(start)
            before = memory.read(end - start)
            after = before.replace(secret.encode(), b"*" * len(secret.encode()))
            if after != before:
                memory.seek(start)
                memory.write(after)
    except (OSError, ValueError, IndexError):
        return False
    return True
