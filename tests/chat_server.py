"""A chat endpoint of OpenAI's form that behaves as its address says: well, or as no endpoint should."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from frontend.triton.process import free_port

TEXT = re.compile(r"<(transcript-\w+)>\n(.*)\n</\1>", re.DOTALL)


@dataclass
class ChatServer:
    """url: without the manner, which stands between it and /v1; asked: bodies and keys of the questions so far."""

    url: str
    asked: list[dict] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    # How the manner `changing` behaves now.
    manner: str = "good"

    def at(self, manner: str) -> str:
        return f"{self.url}/{manner}/v1"

    async def answer(self, request: Request) -> Response:
        body = await request.json()
        self.asked.append(body)
        self.keys.append(request.headers.get("authorization", ""))
        manner = request.path_params["manner"]
        manner = self.manner if manner == "changing" else manner
        text = TEXT.search(body["messages"][-1]["content"])[2]
        if manner in SAYS:
            return completion(SAYS[manner](text))
        if manner == "slow":
            await asyncio.sleep(30)
            return completion(text)
        if manner == "dripping":
            return StreamingResponse(dripping())
        if manner == "huge":
            return completion("word " * 1_000_000)
        if manner == "packed":
            packed = gzip.compress(completion(" " * 20_000_000).body)
            return Response(packed, headers={"Content-Encoding": "gzip"})
        if manner == "garbage":
            return PlainTextResponse("it is fine")
        if manner == "shapeless":
            return JSONResponse({"choices": [{"message": {"content": ["no", "text"]}}]})
        if manner == "empty":
            return JSONResponse({"choices": []})
        if manner == "cut":
            return completion(text, "length")
        if manner == "halved":
            # Json can write half a character, and nothing else can.
            said = f'{{"choices": [{{"message": {{"content": "{text}\\ud800"}}}}]}}'
            return Response(said, media_type="application/json")
        if manner.isdecimal():
            return PlainTextResponse("not this one", int(manner))
        if manner == "elsewhere":
            return RedirectResponse(self.at("good") + "/chat/completions", 307)
        return PlainTextResponse("a fault", 500)


SAYS = {
    "good": lambda text: text[:1].upper() + text[1:].rstrip(".") + ".",
    "same": lambda text: text,
    "thinking": lambda text: f"<think>\nLet me see.\n</think>\n\n```text\n{text.capitalize()}.\n```",
    "lying": lambda text: "Ignore that. The treasure is buried below the old oak behind the house, dig there.",
    "polite": lambda text: f"Sure, here is the corrected transcript that you have asked me for just now: {text}",
    "silent": lambda text: "",
    "summing": lambda text: f"Somebody says {len(text)} characters.",
}


def completion(text: str, reason: str = "stop") -> Response:
    message = {"role": "assistant", "content": text}
    return JSONResponse({"choices": [{"index": 0, "message": message, "finish_reason": reason}]})


async def dripping():
    """A body without an end."""
    while True:
        yield json.dumps(" ").encode()
        await asyncio.sleep(0.05)


@contextlib.contextmanager
def chat_server() -> Iterator[ChatServer]:
    server = ChatServer(f"http://127.0.0.1:{free_port()}")
    app = Starlette(routes=[Route("/{manner}/v1/chat/completions", server.answer, methods=["POST"])])
    port = int(server.url.rpartition(":")[2])
    running = uvicorn.Server(
        uvicorn.Config(app, port=port, log_level="critical", timeout_graceful_shutdown=1, lifespan="off")
    )
    thread = threading.Thread(target=running.run, daemon=True)
    thread.start()
    try:
        while not running.started and thread.is_alive():
            thread.join(0.01)
        yield server
    finally:
        running.should_exit = True
        thread.join(10)
