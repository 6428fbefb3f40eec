"""A hub of our own on loopback: what huggingface_hub asks one for, and the ways in which it goes wrong."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import socket
import struct
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"
# Larger files are kept by git-lfs on a hub: known by their SHA-256.
LFS_BYTES = 100_000


@dataclass
class Hub:
    """The repositories that are served, id -> folder, and what goes wrong.

    gated: ids whose files are refused. claimed: sizes that are told instead of the true ones, by file name. cuts: how
    often answers with model.safetensors break off; each stops at `cut_at` bytes of the file. reset: by a reset
    connection, and not by its end.
    """

    repositories: dict[str, Path]
    gated: set[str] = field(default_factory=set)
    claimed: dict[str, int] = field(default_factory=dict)
    cuts: int = 0
    cut_at: int = 1_000_000
    reset: bool = False
    # What was asked for: method, path, Range and Authorization.
    asked: list[tuple[str, str, str | None, str | None]] = field(default_factory=list)
    url: str = ""

    def ranges(self, name: str) -> list[str | None]:
        """Range of every GET of a file."""
        return [span for method, path, span, _ in self.asked if method == "GET" and path.endswith(f"/{name}")]


@contextlib.contextmanager
def serving(hub: Hub) -> Iterator[Hub]:
    """Serve on a free port of loopback; hub.url tells it."""

    class Handler(_Handler):
        served = hub

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        hub.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield hub
        finally:
            server.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    served: Hub
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def log_message(self, *_: object) -> None:
        """Quiet."""

    def _answer(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.served.asked.append((self.command, path, self.headers["Range"], self.headers["Authorization"]))
        if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/revision/[^/]+)?", path):
            self._with(found[1], lambda folder: self._json(self._info(found[1], folder)))
        elif found := re.fullmatch(r"/api/models/([^/]+/[^/]+)/tree/[^/]+/?", path):
            self._with(found[1], lambda folder: self._json(self._tree(folder)))
        elif found := re.fullmatch(r"/([^/]+/[^/]+)/resolve/[^/]+/([^/]+)", path):
            if found[1] in self.served.gated:
                self._refuse(403, "GatedRepo", "Access to this repository is restricted")
            else:
                self._with(found[1], lambda folder: self._file(folder / found[2]))
        else:
            self._refuse(404, "RepoNotFound", "Repository not found")

    def _with(self, name: str, answer) -> None:
        if name in self.served.repositories:
            answer(self.served.repositories[name])
        else:
            # To somebody without a token a hub tells a private repository and none alike.
            self._refuse(401, "RepoNotFound", "Repository not found")

    def _info(self, name: str, folder: Path) -> dict:
        files = [{"rfilename": one["path"], "blobId": one["oid"], **one} for one in self._tree(folder)]
        return {"id": name, "modelId": name, "sha": COMMIT, "private": False, "tags": [], "siblings": files}

    def _tree(self, folder: Path) -> list[dict]:
        return [self._entry(path) for path in sorted(folder.iterdir())]

    def _entry(self, path: Path) -> dict:
        data = path.read_bytes()
        size = self.served.claimed.get(path.name, len(data))
        entry = {"type": "file", "path": path.name, "size": size, "oid": _git_hash(data)}
        if len(data) >= LFS_BYTES:
            digest = hashlib.sha256(data).hexdigest()
            entry["lfs"] = {"oid": digest, "sha256": digest, "size": size, "pointerSize": 134}
        return entry

    def _file(self, path: Path) -> None:
        if not path.is_file():
            self._refuse(404, "EntryNotFound", "Entry not found")
            return
        data, entry = path.read_bytes(), self._entry(path)
        start = int(self.headers["Range"].removeprefix("bytes=").rstrip("-")) if self.headers["Range"] else 0
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(data) - start))
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("ETag", f'"{entry["oid"]}"')
        if "lfs" in entry:
            self.send_header("X-Linked-ETag", f'"{entry["lfs"]["oid"]}"')
            self.send_header("X-Linked-Size", str(entry["size"]))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        self.end_headers()
        if self.command == "HEAD":
            return
        if path.name == "model.safetensors" and self.served.cuts:
            self.served.cuts -= 1
            self.wfile.write(data[start : max(start, self.served.cut_at)])
            self._hang_up()
        else:
            self.wfile.write(data[start:])

    def _hang_up(self) -> None:
        self.wfile.flush()
        self.close_connection = True
        if self.served.reset:
            # No time to linger: the kernel answers with a reset.
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
        else:
            self.connection.shutdown(socket.SHUT_RDWR)

    def _json(self, answer: object) -> None:
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _refuse(self, status: int, code: str, message: str) -> None:
        self.send_response(status)
        self.send_header("X-Error-Code", code)
        self.send_header("X-Error-Message", message)
        self.send_header("Content-Length", "0")
        self.end_headers()


def _git_hash(data: bytes) -> str:
    return hashlib.sha1(f"blob {len(data)}\0".encode() + data, usedforsecurity=False).hexdigest()
