"""`python -m export` in a container: as whoever owns the mounted model repository.

A container begins as root, and what root writes into a folder of the host is not the user's to change. So the
process becomes the owner of `model_repository` first, whoever cloned it; its cache, a volume that Docker made as
root's, becomes that user's as well. Where the owner is root (a clone of root's, or rootless Docker, where root is
the user), it stays. The image has a repository of its own, of the rooms' code alone, which what is exported must not go
to: it would be gone with the container.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from export.rooms import MODEL_REPOSITORY

CACHE = Path("/cache")
# Of each mount, where it is, as the fifth word.
MOUNTS = Path("/proc/self/mountinfo")


def become_owner(folder: Path, cache: Path) -> None:
    """Drop root's rights for those of the owner of `folder`; a process that is not root stays what it is."""
    owner = folder.stat()
    if os.geteuid() != 0 or owner.st_uid == 0:
        return
    cache.mkdir(parents=True, exist_ok=True)
    for path in (cache, *cache.rglob("*")):
        if path.lstat().st_uid != owner.st_uid:
            os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)
    os.setgroups([])
    os.setgid(owner.st_gid)
    os.setuid(owner.st_uid)


def is_mounted(folder: Path) -> bool:
    """Whether something is mounted just there; by the kernel's list, because one disk may hold both."""
    return any(line.split()[4] == str(folder) for line in MOUNTS.read_text(encoding="utf-8").splitlines())


def main() -> int:
    if not (is_mounted(MODEL_REPOSITORY) and (MODEL_REPOSITORY / "encoder").is_dir()):
        print(f"error: no model repository at {MODEL_REPOSITORY}: mount the one of the clone there", file=sys.stderr)
        return 1
    become_owner(MODEL_REPOSITORY, CACHE)
    # Imported as the one who runs it: libraries look for their caches when they are imported.
    from export.__main__ import main as export

    return export()


if __name__ == "__main__":
    sys.exit(main())
