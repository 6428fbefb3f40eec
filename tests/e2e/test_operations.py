"""What operators rely on: keys, limits, metrics, logs, loading on demand, and an orderly end."""

import asyncio
import gzip
import http.server
import json
import signal
import threading
import time

import httpx
import psutil
import pytest
from openai import AsyncOpenAI, AuthenticationError, OpenAI, RateLimitError
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from perf.service import running_service
from tests.conftest import RECORDINGS

ENGLISH = "four two seven nine zero one five"


def recording():
    return ("a.flac", (RECORDINGS / "english.flac").read_bytes())


@pytest.fixture(scope="module")
def triton_url(service):
    return httpx.get(f"{service.url}/health", timeout=30).json()["triton"]["url"]


@pytest.fixture(scope="module")
def guarded(triton_url, tmp_path_factory):
    """A frontend with keys and limits before the same Triton."""
    with running_service(
        ASR_TRITON_URL=triton_url,
        ASR_CACHE_DIR=str(tmp_path_factory.mktemp("cache")),
        ASR_API_KEYS='["alpha", "beta", "gamma"]',
        ASR_REQUESTS_PER_MINUTE="6",
        ASR_REQUESTS_AT_A_TIME="2",
        ASR_CORS_ORIGINS='["https://example.org"]',
        ASR_LOG_JSON="true",
    ) as running:
        yield running


def test_a_key_is_needed(guarded):
    for key in ("wrong", "alph", "alpha1"):
        with pytest.raises(AuthenticationError):
            OpenAI(base_url=f"{guarded.url}/v1", api_key=key, max_retries=0).models.list()
    assert httpx.get(f"{guarded.url}/v1/models", timeout=30).status_code == 401
    for path in ("/health", "/health/live", "/metrics", "/"):
        assert httpx.get(f"{guarded.url}{path}", timeout=30).status_code == 200
    answer = OpenAI(base_url=f"{guarded.url}/v1", api_key="beta").audio.transcriptions.create(
        model="whisper-1", file=recording()
    )
    assert answer.text == ENGLISH


async def test_a_socket_needs_a_key_too(guarded):
    url = guarded.url.replace("http", "ws") + "/v1/realtime"
    with pytest.raises(InvalidStatus) as caught:
        async with connect(url):
            pass
    assert caught.value.response.status_code == 401
    protocols = ["realtime", "openai-insecure-api-key.gamma"]
    async with connect(url, subprotocols=protocols) as ws:
        assert json.loads(await ws.recv())["type"] == "session.created"


def test_too_many_requests_are_told_when_to_come_back(guarded):
    client = OpenAI(base_url=f"{guarded.url}/v1", api_key="alpha", max_retries=0)
    for _ in range(6):
        client.models.list()
    with pytest.raises(RateLimitError) as caught:
        client.models.list()
    assert caught.value.response.headers["retry-after"]
    # Another key has its own measure.
    assert OpenAI(base_url=f"{guarded.url}/v1", api_key="beta").models.list()


def test_cors(guarded):
    asked = {"Origin": "https://example.org", "Access-Control-Request-Method": "POST"}
    answer = httpx.options(f"{guarded.url}/v1/audio/transcriptions", headers=asked, timeout=30)
    assert answer.headers["access-control-allow-origin"] == "https://example.org"
    asked["Origin"] = "https://example.com"
    answer = httpx.options(f"{guarded.url}/v1/audio/transcriptions", headers=asked, timeout=30)
    assert "access-control-allow-origin" not in answer.headers


def test_the_log_is_json_with_request_ids(guarded):
    headers = {"authorization": "Bearer gamma", "x-request-id": "find-me"}
    httpx.get(f"{guarded.url}/v1/models", headers=headers, timeout=30)
    deadline = time.monotonic() + 20
    mine = []
    # The line is written when the answer has been sent.
    while not mine and time.monotonic() < deadline:
        lines = [json.loads(line) for line in guarded.log_path.read_text().splitlines() if line.startswith("{")]
        mine = [line for line in lines if line.get("request_id") == "find-me"]
    assert mine
    assert mine[0]["route"] == "/v1/models"
    assert mine[0]["status"] == 200


def test_metrics(service, openai_client):
    openai_client.audio.transcriptions.create(model="tiny", file=recording())
    httpx.get(f"{service.url}/made/up/path", timeout=30)
    text = httpx.get(f"{service.url}/metrics", timeout=30).text
    assert 'asr_frontend_request_seconds_count{method="POST",route="/v1/audio/transcriptions",status="200"}' in text
    assert "asr_frontend_first_text_seconds_count" in text
    assert 'asr_frontend_stage_seconds_bucket{le="1.0",stage="decode"}' in text
    assert "asr_frontend_live_sessions 0.0" in text
    assert "made" not in text


@pytest.mark.parametrize(
    ("path", "field", "data", "read"),
    [
        ("/api/v1/transcribe", "file", {"initial_prompt": "digits"}, lambda answer: answer.json()["text"]),
        ("/api/v1/asr", "audio_file", {"output": "txt"}, lambda answer: answer.text.strip()),
        ("/api/v1/asr", "audio_file", {}, lambda answer: answer.json()["segments"][0]["text"]),
        ("/api/v1/trans/video", "file", {"debug": "true"}, lambda answer: answer.json()["segments"][0]["text"]),
    ],
)
def test_routes_of_other_servers(service, path, field, data, read):
    answer = httpx.post(f"{service.url}{path}", files={field: recording()}, data=data, timeout=60)
    assert answer.status_code == 200, answer.text
    assert read(answer) == ENGLISH
    if "debug" in data:
        assert answer.json()["meta"]["timings_ms"]["total"] > 0


def test_triton_is_loaded_on_demand_and_given_up_when_idle(tmp_path):
    with running_service(ASR_CACHE_DIR=str(tmp_path), ASR_LOAD="first_request", ASR_IDLE_TIMEOUT="0.6") as running:
        assert running.ready_s < 5
        client = OpenAI(base_url=f"{running.url}/v1", api_key="none", max_retries=0, timeout=60)
        assert running.tritons() == []
        assert httpx.get(f"{running.url}/health", timeout=30).json()["status"] == "asleep"
        for pause_s in (1.5, 0.62, 0.7):
            assert client.audio.transcriptions.create(model="whisper-1", file=recording()).text == ENGLISH
            # A request may come just when Triton is ended: it waits for the next one.
            time.sleep(pause_s)
        deadline = time.monotonic() + 20
        while running.tritons() and time.monotonic() < deadline:
            time.sleep(0.1)
        assert running.tritons() == []


async def test_requests_under_load_and_unload_are_all_answered(tmp_path):
    """Bursts with pauses in which Triton is given up, or is just about to be."""
    with running_service(ASR_CACHE_DIR=str(tmp_path), ASR_IDLE_TIMEOUT="0.2") as running:
        async with AsyncOpenAI(base_url=f"{running.url}/v1", api_key="none", max_retries=0, timeout=60) as client:

            async def ask(delay_s):
                await asyncio.sleep(delay_s)
                return (await client.audio.transcriptions.create(model="whisper-1", file=recording())).text

            for burst in range(4):
                texts = await asyncio.gather(*(ask(0.15 * i) for i in range(4)))
                assert set(texts) == {ENGLISH}
                await asyncio.sleep(0.2 + 0.05 * burst)


async def test_a_stopped_frontend_gives_live_speech_its_final(tmp_path, english):
    from tests.e2e.test_live import feed, s16

    with running_service(ASR_CACHE_DIR=str(tmp_path)) as running:
        async with connect(running.url.replace("http", "ws") + "/ws/transcribe") as ws:
            await feed(ws, s16(english[:56_000]))
            psutil.Process(running.pid).send_signal(signal.SIGTERM)
            events = [json.loads(message) async for message in ws]
    finals = [event["text"] for event in events if event["type"] == "final"]
    assert finals
    assert finals[0].startswith("four two seven nine")
    assert events[-1]["type"] == "closed"


class Collector(http.server.BaseHTTPRequestHandler):
    """An OTLP collector over HTTP that keeps what it gets."""

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        self.server.bodies.append((self.headers.get("content-type"), body))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


def spans_of(bodies):
    """(service, trace id, name) of every span; Triton sends json, where ids are hexadecimal."""
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    found = []
    for kind, body in bodies:
        if "json" in kind:
            for resource in json.loads(body)["resourceSpans"]:
                spans = [span for scope in resource["scopeSpans"] for span in scope["spans"]]
                found += [("triton", span["traceId"].lower(), span["name"]) for span in spans]
            continue
        request = ExportTraceServiceRequest()
        request.ParseFromString(body)
        for resource in request.resource_spans:
            spans = [span for scope in resource.scope_spans for span in scope.spans]
            found += [("frontend", span.trace_id.hex(), span.name) for span in spans]
    return found


def test_the_frontends_spans_are_joined_to_tritons(tmp_path):
    collector = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Collector)
    collector.bodies = []
    threading.Thread(target=collector.serve_forever, daemon=True).start()
    trace = "0af7651916cd43dd8448eb211c80319c"
    wanted = {("triton", trace, name) for name in ("asr", "vad", "encoder", "decoder")}
    try:
        endpoint = f"http://127.0.0.1:{collector.server_port}"
        with running_service(ASR_CACHE_DIR=str(tmp_path), ASR_OTLP_ENDPOINT=endpoint) as running:
            answer = httpx.post(
                f"{running.url}/v1/audio/transcriptions",
                files={"file": recording()},
                data={"model": "whisper-1"},
                headers={"traceparent": f"00-{trace}-b7ad6b7169203331-01"},
                timeout=60,
            )
            assert answer.json()["text"] == ENGLISH
            deadline = time.monotonic() + 20
            # Triton sends what has come together every few seconds.
            while not wanted <= set(spans_of(collector.bodies)) and time.monotonic() < deadline:
                time.sleep(0.2)
        found = spans_of(collector.bodies)
    finally:
        collector.shutdown()
    assert wanted <= set(found)
    assert ("frontend", trace, "POST /v1/audio/transcriptions") in found
    assert not any("health" in name for _, _, name in found)
