"""Who is let in: keys that are none, pages of other origins, and what browsers are told of every answer."""

import logging
import subprocess

import httpx
import pytest
from starlette.responses import PlainTextResponse

from frontend.__main__ import main
from frontend.app import create_app
from frontend.guard.headers import ALWAYS, SafeAnswers
from frontend.guard.hosts import HostGate, Hosts
from frontend.guard.keys import Keys, KeysError
from frontend.guard.origins import OriginGate, is_own
from frontend.observe.logs import WithoutQuery
from frontend.settings import Settings
from tests.certificates import certificate


def test_a_mark_in_front_of_the_file_is_no_part_of_its_first_key(tmp_path):
    path = tmp_path / "keys"
    path.write_bytes("﻿first\r\n second \r\n".encode())
    keys = Keys.of(Settings(api_keys_file=path))
    assert [keys.find(name) for name in ("first", "second")] == [0, 1]


def test_keys_that_no_client_could_send_are_refused(tmp_path):
    with pytest.raises(KeysError, match="ASCII"):
        Keys.of(Settings(api_keys=["schlüssel"]))
    path = tmp_path / "keys"
    path.write_bytes("\ufeff\n # none\n".encode())
    with pytest.raises(KeysError, match="no key"):
        Keys.of(Settings(api_keys_file=path))


def test_keys_that_can_be_guessed_are_said(caplog):
    Keys.of(Settings(api_keys=["guess", "f" * 32]))
    assert "1 of the API keys" in caplog.text
    assert "guess\n" not in caplog.text


@pytest.fixture(scope="module")
def pem(tmp_path_factory):
    """Files by name: a certificate and its key, another key, and one that wants a password."""
    first, second = (certificate(tmp_path_factory.mktemp(name)) for name in ("first", "second"))
    locked = first.key.with_name("locked.key")
    command = ["openssl", "pkey", "-in", str(first.key), "-aes256", "-passout", "pass:secret", "-out", str(locked)]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    files = {"certificate": first.certificate, "key": first.key, "other_key": second.key, "locked_key": locked}
    return {name: str(path) for name, path in files.items()}


@pytest.mark.parametrize(
    "variables",
    [
        {"ASR_API_KEYS": "[]"},
        {"ASR_API_KEYS": '[""]'},
        {"ASR_API_KEYS": '["  "]'},
        {"ASR_API_KEYS_FILE": "/"},
        {"ASR_API_KEYS_FILE": "/dev/null"},
        {"ASR_API_KEYS_FILE": "/is/not/there"},
        {"ASR_TRITON_CONTROL_KEY_FILE": "/"},
        {"ASR_TLS_CERTIFICATE": "{certificate}"},
        {"ASR_TLS_KEY": "{key}"},
        {"ASR_TLS_CERTIFICATE": "/is/not/there", "ASR_TLS_KEY": "{key}"},
        {"ASR_TLS_CERTIFICATE": "{certificate}", "ASR_TLS_KEY": "/"},
        {"ASR_TLS_CERTIFICATE": "{certificate}", "ASR_TLS_KEY": "{certificate}"},
        {"ASR_TLS_CERTIFICATE": "{certificate}", "ASR_TLS_KEY": "{other_key}"},
        {"ASR_TLS_CERTIFICATE": "{certificate}", "ASR_TLS_KEY": "{locked_key}"},
        {"ASR_TRITON_TLS_ROOTS": "/is/not/there"},
        {"ASR_TRITON_TLS_ROOTS": "{key}"},
        {"ASR_TRITON_TLS_ROOTS": "{certificate}", "ASR_TRITON_TLS_KEY": "{key}"},
        {"ASR_TRITON_URL": "", "ASR_TRITON_TLS_ROOTS": "{certificate}"},
    ],
)
def test_a_start_that_would_be_less_safe_than_asked_for_ends_with_one_line(variables, pem, monkeypatch, capsys):
    for name, value in {"ASR_TRITON_URL": "127.0.0.1:1", "ASR_PORT": "0", **variables}.items():
        monkeypatch.setenv(name, value.format(**pem))
    assert main() == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert "ASR_" in line or "secret of Triton's control services" in line


@pytest.mark.parametrize(
    ("origin", "host", "own"),
    [
        ("http://127.0.0.1:8100", "127.0.0.1:8100", True),
        ("http://localhost:8100", "localhost:8100", True),
        ("http://[::1]:8100", "[::1]:8100", True),
        ("http://localhost", "localhost:80", True),
        ("http://127.0.0.1:3000", "127.0.0.1:8100", False),
        ("https://example.org", "127.0.0.1:8100", False),
        ("https://127.0.0.1:8100.example.org", "127.0.0.1:8100", False),
        ("null", "127.0.0.1:8100", False),
        ("file://", "127.0.0.1:8100", False),
        ("http://a:b:c", "127.0.0.1:8100", False),
        ("", "", False),
        # A proxy with TLS on this machine; and a name that was made to mean this machine.
        ("https://asr.example.org", "asr.example.org", True),
        ("http://evil.example.org:8100", "evil.example.org:8100", False),
    ],
)
def test_whose_page_it_is(origin, host, own):
    assert is_own(origin, host, Hosts([]), loopback=True) is own


@pytest.mark.parametrize(
    ("origin", "names", "own"),
    [
        ("http://10.0.0.7:8080", [], True),
        ("http://frontend:8080", [], True),
        ("https://asr.example.org", [], True),
        # Whoever owns it can make it mean this server, but has no certificate for that.
        ("http://asr.example.org:8080", [], False),
        ("http://asr.example.org:8080", ["asr.example.org"], True),
        ("http://asr.example.org:8080", ["*.Example.org"], True),
        ("http://example.org", ["*.example.org"], False),
        ("http://frontend:8080", ["asr.example.org"], False),
        ("http://10.0.0.7:8080", ["asr.example.org"], True),
    ],
)
def test_whose_page_it_is_where_others_reach_the_server(origin, names, own):
    host = origin.partition("//")[2]
    assert is_own(origin, host, Hosts(names), loopback=False) is own
    assert not is_own(origin, "somewhere.else:8080", Hosts(names), loopback=False)


@pytest.mark.parametrize(
    ("host", "answers"),
    [
        ("asr.example.org", True),
        ("ASR.example.org.:8080", True),
        ("a.b.internal", True),
        ("127.0.0.1:8100", True),
        ("[::1]:8100", True),
        ("10.0.0.7", True),
        ("localhost:8100", True),
        ("", True),
        ("evil.example.org", False),
        ("asr.example.org.evil.org", False),
        ("internal", False),
        ("[", False),
        ("@", False),
    ],
)
@pytest.mark.parametrize("kind", ["http", "websocket"])
async def test_what_is_meant_for_another_name_is_refused(kind, host, answers):
    reached, sent = [], []

    async def inner(scope, receive, send):
        reached.append(scope)

    async def send(message):
        sent.append(message)

    extensions = {"websocket.http.response": {}}
    scope = {"type": kind, "path": "/", "headers": [(b"host", host.encode())], "extensions": extensions}
    await HostGate(inner, ["asr.example.org", "*.internal"])(scope, None, send)
    assert bool(reached) is answers
    assert answers or sent[0]["status"] == 421


async def test_the_names_are_a_setting():
    app = create_app(Settings(hosts=["asr.example.org"]))
    for host, status in (("http://asr.example.org", 200), ("http://evil.example.org", 421), ("http://127.0.0.1", 200)):
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=host) as client:
            assert (await client.get("/health/live")).status_code == status


async def _asked(kind, method="GET", **settings):
    """What the gate makes of a request with this Origin: "in", or the answer's status (of a socket: closed)."""
    origin, reached, sent = settings.pop("origin"), [], []

    async def inner(scope, receive, send):
        reached.append(scope)

    async def send(message):
        sent.append(message)

    headers = [(b"host", b"127.0.0.1:8100"), *([(b"origin", origin.encode())] if origin else [])]
    scope = {"type": kind, "path": "/", "headers": headers, **({"method": method} if kind == "http" else {})}
    await OriginGate(inner, Settings(**settings))(scope, None, send)
    return "in" if reached else sent[0].get("status", sent[0]["type"])


async def test_pages_of_others_open_no_socket_and_send_no_form():
    foreign, own = "https://example.org", "http://127.0.0.1:8100"
    for origin, allowed in (
        (None, []),
        (own, []),
        (foreign, [foreign]),
        (foreign, ["https://EXAMPLE.org/"]),
        (foreign, ["*"]),
    ):
        assert await _asked("websocket", origin=origin, cors_origins=allowed) == "in"
        assert await _asked("http", "POST", origin=origin, cors_origins=allowed) == "in"
    for allowed in ([], ["https://example.com"]):
        assert await _asked("websocket", origin=foreign, cors_origins=allowed) == "websocket.close"
        assert await _asked("http", "POST", origin=foreign, cors_origins=allowed) == 403
        # What is read so cannot be read by the page.
        assert await _asked("http", "GET", origin=foreign, cors_origins=allowed) == "in"
    assert await _asked("lifespan", origin=foreign) == "in"


async def test_every_answer_has_the_headers_and_a_page_its_own_policy():
    async def own_policy(scope, receive, send):
        await PlainTextResponse("", headers={"Content-Security-Policy": "default-src 'self'"})(scope, receive, send)

    for app, policy in ((PlainTextResponse(""), "frame-ancestors 'none'"), (own_policy, "default-src 'self'")):
        async with httpx.AsyncClient(transport=httpx.ASGITransport(SafeAnswers(app)), base_url="http://x") as client:
            headers = (await client.get("/")).headers
        assert headers["content-security-policy"] == policy
        assert {name: headers[name] for name in ALWAYS} == ALWAYS


async def test_also_what_is_refused_has_them_and_no_origin_is_allowed_by_default():
    app = create_app(Settings(api_keys=["f" * 32]))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://x") as client:
        answer = await client.get("/v1/models", headers={"origin": "https://example.org"})
    assert answer.status_code == 401
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert not [name for name in answer.headers if name.startswith("access-control")]


def test_the_log_has_no_query():
    record = logging.LogRecord(
        "uvicorn.error", logging.INFO, "", 0, '%s - "WebSocket %s" %d', ("a:1", "/ws?context=secret", 403), None
    )
    assert WithoutQuery().filter(record)
    assert record.getMessage() == 'a:1 - "WebSocket /ws" 403'
