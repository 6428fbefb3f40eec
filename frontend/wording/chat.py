"""One question to a chat endpoint of OpenAI's form, whatever that does: an answer in time, or why there is none."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from dataclasses import dataclass
from typing import Any

from frontend.api.strict_json import is_text

# Of an answer's body.
MOST_BYTES = 256_000
# Questions at a time, of one process.
AT_A_TIME = 8
# After so many in a row without an answer nobody is asked for a while, and then one question again: a dead endpoint
# does not cost every text its time.
MOST_FAILURES, REST_S = 3, 30.0
# Statuses that are about one question: another may well be answered.
ABOUT_ONE = (400, 413, 422, 429)
# Ends of a question that say that nobody answers there.
DEAD = ("timeout", "connection", "status")


class NoAnswer(Exception):
    """The endpoint gave none that can be used. kind: in one word, for counts."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


@dataclass(frozen=True)
class Endpoint:
    """url: of the API, with its /v1; timeout_s: of a question, and as much again for one of our places."""

    url: str
    model: str
    key: str = ""
    timeout_s: float = 10.0


class Chat:
    """The endpoint, used by everybody; `close` it at the end."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._places = asyncio.Semaphore(AT_A_TIME)
        self._client: Any = None
        self._connecting = asyncio.Lock()
        self._failures = 0
        self._rests_until = 0.0
        self._is_tried = False

    @property
    def rests(self) -> bool:
        """Whether nobody is asked, because it did not answer lately."""
        return self._failures >= MOST_FAILURES and (self._is_tried or time.monotonic() < self._rests_until)

    async def answer(self, system: str, user: str, most_tokens: int) -> str:
        """What it says. Raises NoAnswer, within twice the endpoint's time: once for a place, once for the answer."""
        self._check_rest()
        try:
            await asyncio.wait_for(self._places.acquire(), self._endpoint.timeout_s)
        except asyncio.TimeoutError:
            # That is our own queue, and says nothing about the endpoint.
            raise NoAnswer("crowded", f"no place for the question in {self._endpoint.timeout_s:g} s") from None
        try:
            # It may have stopped answering meanwhile.
            self._check_rest()
            return await self._counted(system, user, most_tokens)
        finally:
            self._places.release()

    async def close(self) -> None:
        if self._client is not None:
            await self._client.aclose()

    def _check_rest(self) -> None:
        if self.rests:
            raise NoAnswer("resting", "the endpoint did not answer lately and is left alone for a while")

    async def _counted(self, system: str, user: str, most_tokens: int) -> str:
        # One tries, for all.
        is_trial = self._failures >= MOST_FAILURES
        self._is_tried = is_trial
        try:
            text = await asyncio.wait_for(self._asked(system, user, most_tokens), self._endpoint.timeout_s)
        except asyncio.TimeoutError:
            self._failed()
            raise NoAnswer("timeout", f"the endpoint gave no answer in {self._endpoint.timeout_s:g} s") from None
        except NoAnswer as error:
            if error.kind in DEAD:
                self._failed()
            else:
                self._failures = 0
            raise
        finally:
            if is_trial:
                self._is_tried = False
        self._failures = 0
        return text

    def _failed(self) -> None:
        self._failures += 1
        if self._failures >= MOST_FAILURES:
            self._rests_until = time.monotonic() + REST_S

    async def _asked(self, system: str, user: str, most_tokens: int) -> str:
        async with self._connecting:
            if self._client is None:
                self._client = await asyncio.to_thread(_client, self._endpoint)
        messages = [{"role": "system", "content": system}, {"role": "user", "content": user}]
        body = {"model": self._endpoint.model, "messages": messages, "temperature": 0, "max_tokens": most_tokens}
        return _said(await self._body(body))

    async def _body(self, question: dict[str, Any]) -> bytes:
        import httpx

        try:
            async with self._client.stream("POST", "chat/completions", json=question) as response:
                if response.status_code != 200:
                    kind = "refused" if response.status_code in ABOUT_ONE else "status"
                    raise NoAnswer(kind, f"the endpoint answered {response.status_code}")
                # What is packed may be any size when it is unpacked; nobody asked for that.
                if response.headers.get("content-encoding", "identity") != "identity":
                    raise NoAnswer("shape", "the endpoint's answer is packed")
                body = b""
                async for part in response.aiter_raw():
                    body += part
                    if len(body) > MOST_BYTES:
                        raise NoAnswer("shape", f"the endpoint's answer has more than {MOST_BYTES} bytes")
                return body
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, OSError, ValueError) as error:
            # What it says may hold the address, and more.
            raise NoAnswer("connection", f"the endpoint cannot be asked: {type(error).__name__}") from error


def _client(endpoint: Endpoint) -> Any:
    """To nowhere but the address that was given: no proxies or passwords of the environment, no redirects."""
    import httpx

    # It logs every question, and where it goes.
    for name in ("httpx", "httpcore"):
        logging.getLogger(name).setLevel(logging.WARNING)
    headers = {"Accept-Encoding": "identity"}
    if endpoint.key:
        headers["Authorization"] = f"Bearer {endpoint.key}"
    return httpx.AsyncClient(
        base_url=endpoint.url.rstrip("/") + "/",
        headers=headers,
        timeout=endpoint.timeout_s,
        follow_redirects=False,
        trust_env=False,
        limits=httpx.Limits(max_connections=AT_A_TIME, max_keepalive_connections=AT_A_TIME),
    )


def _said(body: bytes) -> str:
    try:
        answer = json.loads(body)
        choice = answer["choices"][0]
        text = choice["message"]["content"]
    except (ValueError, LookupError, TypeError, RecursionError):
        raise NoAnswer("shape", "the endpoint's answer is no chat completion") from None
    if not isinstance(text, str):
        raise NoAnswer("shape", "the endpoint's answer has no text")
    if not is_text(text):
        # No answer of ours could carry it.
        raise NoAnswer("shape", "the endpoint's answer holds half a character")
    if isinstance(choice, dict) and choice.get("finish_reason") == "length":
        raise NoAnswer("shape", "the endpoint's answer was cut")
    return text
