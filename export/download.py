"""One file of a hub's repository into the hub's cache, resumed where it broke off: in this run, or in an earlier one.

The library (2.4) goes on after some broken connections, but not after a reset one, waits for five seconds at most, and
deletes what came when it gives up: its temporary file has a random name. Gigabytes deserve better. So a file is brought
to where the cache keeps it by its content (`blobs/<hash>`), and the library, which finds it there, does the rest. Its
other transport (xet) is not used for the same reason: what it has of a file is not there for the next run.
"""

from __future__ import annotations

import fcntl
import hashlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from export.errors import ExportError

# Waits between tries that brought nothing, in seconds; after one that brought something they begin anew.
WAITS_S = (1.0, 2.0, 4.0, 8.0, 16.0)
# Answers that may be others the next time.
PASSING = (408, 429, 500, 502, 503, 504)


@dataclass(frozen=True)
class HubFile:
    """blob: its hash, by which the cache keeps it: SHA-256 of large files, git's SHA-1 of small ones."""

    name: str
    num_bytes: int
    blob: str


def missing_bytes(file: HubFile, blobs: Path) -> int:
    """What has to come yet."""
    if (blobs / file.blob).exists():
        return 0
    partial = _partial(file, blobs)
    return file.num_bytes - (min(partial.stat().st_size, file.num_bytes) if partial.exists() else 0)


def download(file: HubFile, url: str, blobs: Path) -> None:
    """Put `file` into the folder `blobs` of a cache, unless it is there.

    Raises ExportError where the connection does not heal, another process is at it, or what came is damaged;
    huggingface_hub's errors where the hub refuses. What came stays for the next try, but not what is damaged.
    """
    if (blobs / file.blob).exists():
        return
    blobs.mkdir(parents=True, exist_ok=True)
    partial = _partial(file, blobs)
    with partial.open("ab") as out:
        try:
            fcntl.flock(out, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ExportError(f"another process is downloading {file.name}: wait for it") from error
        if out.tell() > file.num_bytes:
            out.truncate(0)
            out.seek(0)
        try:
            _complete(file, url, out)
        finally:
            if out.tell() == 0:
                partial.unlink()
        if _hash_of(partial, file) != file.blob:
            partial.unlink()
            raise ExportError(f"{file.name} came damaged from {url}: run the same command again")
        partial.rename(blobs / file.blob)


def _partial(file: HubFile, blobs: Path) -> Path:
    return blobs / f"{file.blob}.partial"


def _complete(file: HubFile, url: str, out: IO[bytes]) -> None:
    """Ask until all of it is there."""
    from huggingface_hub.errors import HfHubHTTPError, HTTPError
    from huggingface_hub.utils import tqdm

    kept, idle = out.tell(), 0
    with tqdm(
        desc=f"hub      {file.name}", total=file.num_bytes, initial=kept, unit="B", unit_scale=True, disable=None
    ) as bar:
        while out.tell() < file.num_bytes:
            had = out.tell()
            try:
                for part in _parts(url, out):
                    out.write(part)
                    if out.tell() > file.num_bytes:
                        raise ExportError(f"{file.name} is longer than the hub said: {url} sends something else")
                    # Less than before where the server began anew.
                    bar.update(out.tell() - bar.n)
                reason = "it ended too early"
            except HfHubHTTPError as error:
                if error.response.status_code not in PASSING:
                    raise
                reason = f"the hub answered {error.response.status_code}"
            except HTTPError as error:
                reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            out.flush()
            if out.tell() >= file.num_bytes:
                break
            if out.tell() > had:
                idle = 0
            if idle == len(WAITS_S):
                raise ExportError(
                    f"{file.name} broke off at {out.tell() / 1e6:.1f} of {file.num_bytes / 1e6:.1f} MB and {idle} more "
                    f"tries brought nothing ({reason}): what came is kept, run the same command again to go on"
                )
            time.sleep(WAITS_S[idle])
            idle += 1
        told = not bar.disable
    if not told:
        print(f"hub      {file.name} ({file.num_bytes / 1e6:.1f} MB{f', {kept / 1e6:.1f} kept' if kept else ''})")


def _parts(url: str, out: IO[bytes]) -> Iterator[bytes]:
    """The rest of a file; `out` is emptied where the server sends all of it again."""
    from huggingface_hub import constants, get_session
    from huggingface_hub.utils import build_hf_headers, hf_raise_for_status

    had = out.tell()
    headers: dict[str, Any] = {**build_hf_headers(), "accept-encoding": "identity"}
    if had:
        headers["range"] = f"bytes={had}-"
    # A redirect to another host loses the token: the client of the library sees to it.
    with get_session().stream("GET", url, headers=headers, timeout=constants.HF_HUB_DOWNLOAD_TIMEOUT) as response:
        hf_raise_for_status(response)
        if had and response.status_code != 206:
            out.truncate(0)
            out.seek(0)
        # As it comes: of a chunk that is being gathered nothing would be left when the connection breaks.
        yield from response.iter_bytes()


def _hash_of(path: Path, file: HubFile) -> str:
    digest = hashlib.sha256()
    if len(file.blob) != digest.digest_size * 2:
        digest = hashlib.sha1(f"blob {file.num_bytes}\0".encode(), usedforsecurity=False)
    with path.open("rb") as made:
        while part := made.read(1 << 24):
            digest.update(part)
    return digest.hexdigest()
