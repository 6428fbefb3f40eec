"""API keys, where they are set: who may ask, and how often."""

from __future__ import annotations

import hashlib
import hmac
import logging
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from frontend.errors import ApiError
from frontend.guard.clients import KEY
from frontend.guard.counts import Count, Counts, Time
from frontend.guard.refusals import refuse
from frontend.settings import Settings

# What a load balancer, a scraper and a browser's first look need.
OPEN_PATHS = ("/", "/health", "/health/live", "/health/ready", "/metrics")
OPEN_PREFIX = "/static/"
# How OpenAI's clients in browsers pass a key, which cannot set headers.
SUBPROTOCOL = "openai-insecure-api-key."
# 16 random letters and digits are 95 bits.
SHORT = 16

logger = logging.getLogger(__name__)


class Bucket:
    """Requests of one client: `per_minute` on average, as many at once after a quiet minute.

    All there is to know is when the bucket would be full again if nothing more came (the generic cell rate algorithm),
    which the processes of a service share.
    """

    def __init__(self, per_minute: float, full_at: Time | None = None) -> None:
        self._each_s = 60 / per_minute
        # How far that may lie ahead for a request to pass.
        self._most_s = (max(1.0, per_minute) - 1) * self._each_s
        self._full_at = full_at or Counts().time(0)

    def take(self) -> float:
        """0 where the request may pass, else the seconds after which it may."""
        now = time.monotonic()
        full_at = max(now, self._full_at.get())
        wait_s = full_at - now - self._most_s
        # A request that comes when it was told to is not late by a rounding.
        if wait_s > 1e-6:
            return wait_s
        self._full_at.set(full_at + self._each_s)
        return 0.0


@dataclass
class Client:
    """What is known of the holder of a key."""

    bucket: Bucket | None
    running: Count


class KeysError(ValueError):
    """Keys were asked for, and what was given would let anybody in; the message says what."""


@dataclass
class Keys:
    """The keys' hashes: a key itself is kept nowhere, and comparing takes the same time for all."""

    hashes: list[bytes] = field(default_factory=list)

    @classmethod
    def of(cls, settings: Settings) -> Keys:
        """From the setting and the file, one key a line.

        Raises KeysError where keys are asked for and there is none, one is empty, or the file cannot be read.
        """
        keys = [key.strip() for key in settings.api_keys]
        if "api_keys" in settings.model_fields_set and not all(keys or [""]):
            raise KeysError("ASR_API_KEYS names no key, or an empty one: anybody would be let in")
        if settings.api_keys_file is not None:
            keys += _keys_of(settings.api_keys_file)
        # A client's header is read as Latin-1, so that no other letters would ever be found.
        if not all(key.isascii() for key in keys):
            raise KeysError("an API key has letters beyond ASCII, which clients cannot send")
        if short := sum(len(key) < SHORT for key in keys):
            logger.warning("%d of the API keys have less than %d letters: nothing slows down guessing", short, SHORT)
        return cls([_hash(key) for key in keys])

    @property
    def num_clients(self) -> int:
        """Who is told apart: the holders of keys, or without keys all together."""
        return max(1, len(self.hashes))

    def find(self, key: str) -> int | None:
        """The key's number; every known one is compared, whichever it is."""
        found = None
        wanted = _hash(key)
        for number, known in enumerate(self.hashes):
            if hmac.compare_digest(known, wanted):
                found = number
        return found


class KeyGate:
    """Refuses what comes without a known key (401), too often or too much at once (429)."""

    def __init__(self, app: ASGIApp, settings: Settings, keys: Keys, counts: Counts | None = None) -> None:
        self._app = app
        self._keys = keys
        self._per_minute = settings.requests_per_minute
        self._at_a_time = settings.requests_at_a_time
        counts = counts or Counts(keys.num_clients)
        self._clients = [self._client(counts, number) for number in range(keys.num_clients)]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket") or _is_open(scope["path"]) or scope.get("method") == "OPTIONS":
            await self._app(scope, receive, send)
            return
        number = None
        if self._keys.hashes:
            number = self._keys.find(_key(scope))
            if number is None:
                message = "a known API key is needed: Authorization: Bearer KEY"
                await refuse(scope, receive, send, ApiError(401, message, code="invalid_api_key"))
                return
            scope[KEY] = number
        client = self._clients[number or 0]
        wait_s = client.bucket.take() if client.bucket is not None else 0.0
        if wait_s or (self._at_a_time and client.running.total >= self._at_a_time):
            message = f"too many requests: try again in {wait_s:.0f} s" if wait_s else "too many requests at once"
            error = ApiError(429, message, code="rate_limit_exceeded", retry_after_s=wait_s)
            await refuse(scope, receive, send, error)
            return
        client.running.add(1)
        try:
            await self._app(scope, receive, send)
        finally:
            client.running.add(-1)

    def _client(self, counts: Counts, number: int) -> Client:
        bucket = Bucket(self._per_minute, counts.time(number)) if self._per_minute else None
        return Client(bucket, counts.running(number))


def _key(scope: Scope) -> str:
    headers = Headers(scope=scope)
    kind, _, key = headers.get("authorization", "").partition(" ")
    if kind.lower() == "bearer" and key:
        return key.strip()
    offered: Iterable[str] = scope.get("subprotocols", [])
    return next((name.removeprefix(SUBPROTOCOL) for name in offered if name.startswith(SUBPROTOCOL)), "")


def _is_open(path: str) -> bool:
    return path in OPEN_PATHS or path.startswith(OPEN_PREFIX)


def _keys_of(path: Path) -> list[str]:
    try:
        # Some editors put a mark in front of a text, which would be part of the first key.
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise KeysError(f"ASR_API_KEYS_FILE: {path} cannot be read: {error}") from error
    keys = [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]
    if not keys:
        raise KeysError(f"ASR_API_KEYS_FILE: {path} holds no key: anybody would be let in")
    return keys


def _hash(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()
