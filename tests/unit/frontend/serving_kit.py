"""A real server on loopback with guarded connections, and clients that speak raw bytes to it."""

import asyncio
import contextlib
import functools
import socket

import uvicorn

from frontend.errors import ApiError
from frontend.guard.connections import Connections, GuardedHttp
from frontend.guard.guarded_socket import GuardedSocket
from frontend.guard.handshakes import Handshake, server_context
from frontend.guard.refusals import refuse
from frontend.guard.shortcut import SHORTCUT

UPLOAD = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 400000\r\n"


class App:
    """Streams for ever, or echoes; `ended` counts the streams that were ended."""

    def __init__(self):
        self.ended = 0
        self.held = asyncio.Event()

    async def __call__(self, scope, receive, send):
        try:
            await self.answer(scope, receive, send)
        finally:
            self.ended += 1

    async def answer(self, scope, receive, send):
        if scope["path"] == "/full":
            await refuse(scope, receive, send, ApiError(503, "full"))
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.accept"})
            if scope["path"] == "/shortcut":
                await self.listen(scope, receive)
                return
            if scope["path"] == "/talk":
                with contextlib.suppress(OSError):
                    while True:
                        await send({"type": "websocket.send", "bytes": bytes(100_000)})
            while (await receive())["type"] != "websocket.disconnect":
                if scope["path"] == "/hold":
                    await self.held.wait()
        elif scope["path"] == "/talk":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            leaving = asyncio.create_task(receive_until_gone(receive))
            while not leaving.done():
                await send({"type": "http.response.body", "body": bytes(100_000), "more_body": True})
                await asyncio.sleep(0)
        else:
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
            await send({"type": "http.response.body", "body": b"ok"})

    async def listen(self, scope, receive):
        """Note what comes, and whether by the shortcut; texts take a while, and every tenth message is left."""
        shortcut, self.heard = scope["extensions"][SHORTCUT], []

        def take(data):
            taken = len(self.heard) % 10 != 9
            if taken:
                self.heard.append((data, True))
            return taken

        while True:
            shortcut.take = take
            message = await receive()
            shortcut.take = None
            if message["type"] == "websocket.disconnect":
                return
            if message.get("text") is not None:
                await asyncio.sleep(0.01)
            self.heard.append((message.get("bytes") or message["text"].encode(), False))


async def receive_until_gone(receive):
    while (await receive())["type"] != "http.disconnect":
        pass


@contextlib.asynccontextmanager
async def serving(pair=None, app=None, **bounds):
    """A server's port, its connections, and its application. pair: files of a certificate, for TLS. app: in place of
    App."""
    connections = Connections(**{"most": 100, "header_s": 60.0, "reader_s": 60.0, **bounds})
    connections.message_bytes["/small"] = 1_000
    app = app or App()
    listening = socket.create_server(("127.0.0.1", 0))
    # Little is kept for a client that does not read.
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 20_000)
    http = functools.partial(GuardedHttp, connections)
    if pair is not None:
        http = functools.partial(Handshake, connections, server_context(pair.certificate, pair.key))
    config = uvicorn.Config(
        app,
        http=http,
        ws=functools.partial(GuardedSocket, connections),
        ws_ping_interval=0.05,
        ws_ping_timeout=None,
        ws_per_message_deflate=False,
        log_config=None,
        lifespan="off",
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)
    server.capture_signals = contextlib.nullcontext
    running = asyncio.create_task(server.serve(sockets=[listening]))
    watching = asyncio.create_task(connections.watch())
    try:
        yield listening.getsockname()[1], connections, app
    finally:
        server.should_exit = True
        await running
        assert not watching.done(), "nobody watches any more"
        watching.cancel()


async def until(condition):
    while not condition():
        await asyncio.sleep(0.005)


async def raw(port, data):
    """A connection that has sent something and will not read: it keeps 4 kB."""
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    made.setblocking(False)
    await asyncio.get_running_loop().sock_connect(made, ("127.0.0.1", port))
    await asyncio.get_running_loop().sock_sendall(made, data)
    return made


HANDSHAKE = (
    b"GET %s HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
