"""The secret that Triton's control services ask for: loading models, shared memory, logging, traces.

Whoever may load a model may run code as Triton's user, so that who only sends sound must not be able to.

python -m frontend.triton.control FILE      for a Triton that runs elsewhere: makes FILE, prints Triton's options
"""

from __future__ import annotations

import argparse
import errno
import fcntl
import os
import re
import secrets
import stat
import sys
import time
from io import FileIO
from pathlib import Path

# Triton calls a restricted service by the header that it wants: by gRPC with a prefix, by HTTP without.
HEADER = "asr-control"
GRPC_HEADER = f"triton-grpc-protocol-{HEADER}"
SERVICES = "model-repository,shared-memory,logging,trace"
# What can be guessed is no secret, and Triton's option is cut at commas, colons and equal signs.
KEY = re.compile(r"[A-Za-z0-9._~-]{16,512}")
PRIVATE, SHARED = 0o600, 0o444
LOCK_TIMEOUT_S = 5.0


class NoControlKey(ValueError):
    """The file of the secret cannot be read or made; the message says why."""


def restriction(key: str) -> str:
    """What Triton's options --grpc-restricted-protocol and --http-restricted-api take."""
    return f"{SERVICES}:{HEADER}={key}"


def new_key() -> str:
    return secrets.token_urlsafe(24)


def read_key(path: Path | None) -> str:
    """The secret in the file; "" without a file, or while it is not there yet. Raises NoControlKey."""
    if path is None:
        return ""
    try:
        return _checked(path, path.read_text(encoding="ascii"))
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise NoControlKey(f"{path} cannot be read as the secret of Triton's control services: {error}") from error


def kept_key(path: Path | None, mode: int = PRIVATE) -> str:
    """The secret in the file, which is made where it is not there, with this mode. Without a file a new one.

    Of several that begin at the same time one makes it. Raises NoControlKey, also where a file that is to be private is
    somebody else's or open to everybody: its secret would be none.
    """
    if path is None:
        return new_key()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _opened(path) as file:
            _lock(path, file)
            if mode == PRIVATE:
                _check_private(path, os.fstat(file.fileno()))
            if key := _checked(path, file.read().decode("ascii")):
                return key
            # One that was there, empty, may be readable by others, and the umask may have taken away too much.
            os.fchmod(file.fileno(), PRIVATE)
            key = new_key()
            file.write(f"{key}\n".encode("ascii"))
            os.fchmod(file.fileno(), mode)
            return key
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise NoControlKey(f"{path} cannot be kept as the secret of Triton's control services: {why}") from error


def _opened(path: Path) -> FileIO:
    """The file, made where it is not there, but never behind a link; where it may only be read, for reading."""
    try:
        return os.fdopen(os.open(path, os.O_RDWR | os.O_CLOEXEC), "r+b", buffering=0)
    except FileNotFoundError:
        made = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, PRIVATE)
        return os.fdopen(made, "r+b", buffering=0)
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EROFS):
            raise
        return os.fdopen(os.open(path, os.O_RDONLY | os.O_CLOEXEC), "rb", buffering=0)


def _lock(path: Path, file: FileIO) -> None:
    """Until the file is closed. Who makes a secret needs no time for it."""
    deadline = time.monotonic() + LOCK_TIMEOUT_S
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise NoControlKey(f"{path} is locked by another program") from None
            time.sleep(0.01)


def _check_private(path: Path, status: os.stat_result) -> None:
    """One that is empty is closed before it is filled."""
    if status.st_uid not in (0, os.getuid()):
        raise NoControlKey(f"{path} belongs to somebody else (uid {status.st_uid}), who would know the secret")
    if status.st_size and status.st_mode & (stat.S_IRWXO | stat.S_IWGRP):
        mode = stat.S_IMODE(status.st_mode)
        raise NoControlKey(f"{path} is open to others (mode {mode:o}): chmod 600 it, and write a new secret into it")


def _checked(path: Path, text: str) -> str:
    key = text.strip()
    if key and not KEY.fullmatch(key):
        raise NoControlKey(f"{path} holds no secret: 16 or more letters, digits, . _ ~ - are one")
    return key


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m frontend.triton.control")
    parser.add_argument("--shared", action="store_true", help="whoever sees the file's folder (a volume) may read it")
    parser.add_argument("file", type=Path, help="where the secret is kept; made where it is not there")
    asked = parser.parse_args(arguments)
    try:
        key = kept_key(asked.file, SHARED if asked.shared else PRIVATE)
    except NoControlKey as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"--grpc-restricted-protocol={restriction(key)} --http-restricted-api={restriction(key)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
