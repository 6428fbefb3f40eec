"""HTTP itself: other routes and bodies, half requests, lengths that lie, two requests in one, slowness."""

from __future__ import annotations

from perf.chaos.hostile import values
from perf.chaos.hostile.attack import Attack, Http, Rng, request

PATHS = (
    "/v1/models",
    "/v1/models/whisper-1",
    "/v1/audio/transcriptions",
    "/v1/audio/translations",
    "/health",
    "/health/ready",
    "/metrics",
    "/",
    "/openapi.json",
    "/docs",
    "/api/v1/asr",
    "/static/page.js",
    "/ws/transcribe",
    "/v1/realtime",
    "/v1/realtime/client_secrets",
    "/v1/chat/completions",
    "/favicon.ico",
)
ASKS = b"POST /api/v1/asr HTTP/1.1\r\nHost: x\r\n"
UPGRADES = b"GET %b HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
METHODS = ("GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD", "TRACE", "CONNECT", "FOO")


def routes(rng: Rng) -> Attack:
    """Any method, path, query, header and JSON body."""
    path = rng.choice(PATHS)
    how = rng.randrange(6)
    if how == 0:
        path += rng.choice(
            (
                "/..%2f..%2fetc/passwd",
                "/%00",
                "/%ff%fe",
                "//",
                "/" + "a" * 30_000,
                "?" + "a=b&" * 3_000,
                "/\u00e9",
                "?x=%zz",
                "/../../x",
            )
        )
    elif how == 1:
        path = "/v1/models/" + rng.choice(("%00", "..", "a" * 5_000, "%F0%9F%98%80", "whisper-1%0d%0aX:y", "<script>"))
    body = rng.choice((values.json_text(values.json_value(rng)), values.broken_json(rng))).encode(
        "utf-8", "surrogatepass"
    )
    odd = (
        ("X-Request-ID", rng.choice(("a" * 20_000, "\x01", "é", "x\tz", ""))),
        ("Authorization", rng.choice(("Bearer", "Bearer " + "x" * 9_000, "Basic !", "é", ""))),
        ("Accept", "\x7f"),
        ("Range", "bytes=9-1,-" + "9" * 50),
        ("Expect", rng.choice(("100-continue", "x"))),
        ("Origin", "null"),
        ("traceparent", rng.choice(("00-zz", "x" * 900))),
        ("Cookie", "a=" * 2_000),
        ("Host", rng.choice(("", "a" * 300, "x y", "[::"))),
    )
    sent = rng.sample(odd, rng.randrange(3))
    return request(
        rng.choice(METHODS),
        path,
        body,
        (("Content-Type", rng.choice(("application/json", "text/html", "\x01"))), *sent),
    )


def frames(rng: Rng) -> Attack:
    """Bytes that are hardly HTTP, or two opinions on where a request ends."""
    good = b"GET /v1/models HTTP/1.1\r\nHost: x\r\n"
    small = b'{"a": 1}'
    return Http(
        (
            rng.choice(
                (
                    b"",
                    b"\r\n" * 300,
                    rng.randbytes(rng.choice((1, 100, 20_000))),
                    b"GET / HTTP/9.9\r\n\r\n",
                    b"GET  /  HTTP/1.1\r\n\r\n",
                    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + rng.randbytes(200),
                    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00",
                    good + b"A: " + b"b" * 100_000 + b"\r\n\r\n",
                    good + b"".join(b"H%d: x\r\n" % number for number in range(3_000)) + b"\r\n",
                    good + b" folded: y\r\nA\x00B: c\r\n\r\n",
                    b"POST /v1/audio/transcriptions HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n" + small,
                    b"POST /v1/audio/transcriptions HTTP/1.1\r\nHost: x\r\nContent-Length: 8, 8\r\n\r\n" + small,
                    ASKS + b"Content-Length: 4\r\nContent-Length: 8\r\n\r\n" + small,
                    ASKS + b"Content-Length: 8\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET / HTTP/1.1\r\n\r\n",
                    ASKS + b"Transfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFFF\r\nx",
                    ASKS + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nx\r\n0\r\n\r\n",
                    ASKS + b"Transfer-Encoding: x, chunked\r\n\r\n0\r\n\r\n",
                    ASKS
                    + b"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
                    + b"1;e="
                    + b"x" * 9_000
                    + b"\r\na\r\n0\r\n\r\n",
                    ASKS + b"Connection: close\r\nContent-Length: 99999999999999999999\r\n\r\n",
                    (good + b"\r\n") * 50,
                    good + b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
                    UPGRADES % b"/ws/transcribe" + b"Sec-WebSocket-Version: 99\r\nSec-WebSocket-Key: x\r\n\r\n",
                    UPGRADES % b"/v1/realtime" + b"Sec-WebSocket-Version: 13\r\n"
                    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n" + rng.randbytes(200),
                )
            ),
        ),
        leaves=True,
    )


def slow(rng: Rng) -> Attack:
    """A request in crumbs, with a pause after each; then the client has had enough."""
    whole = (
        ASKS
        + b"Content-Type: multipart/form-data; boundary=b\r\nContent-Length: 100000\r\n\r\n"
        + b"--b\r\n"
        + b"x" * 300
    )
    stop, step = rng.randrange(1, len(whole)), rng.choice((1, 7, 40))
    pieces = [whole[start : start + step] for start in range(0, stop, step)][:40]
    return Http(tuple(pieces), pause_s=rng.choice((0.002, 0.02, 0.05)), leaves=True)
