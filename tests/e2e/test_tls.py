"""Encrypted on both sides: HTTPS and wss for clients, and gRPC to a Triton that wants to know who asks."""

import asyncio
import json
import ssl

import httpx
import pytest
from openai import OpenAI
from websockets.asyncio.client import connect

from frontend.guard.tls import triton_credentials
from frontend.settings import Settings
from frontend.triton.client import TritonClient
from frontend.triton.process import EmbeddedTriton
from perf.service import running_service
from tests.certificates import certificate
from tests.conftest import RECORDINGS
from tests.e2e.test_live import ENGLISH, events_of, feed, s16
from tests.endings import stop_later


class TlsTriton(EmbeddedTriton):
    """The real Triton as an operator starts it elsewhere: TLS, and clients with a certificate alone."""

    def __init__(self, settings, server, client):
        super().__init__(settings)
        self._server, self._client = server, client

    def as_settings(self):
        """How the frontend reaches it."""
        return {
            "triton_url": self.url,
            "triton_control_key_file": self._settings.triton_control_key_file,
            "triton_tls_roots": self._server.certificate,
            "triton_tls_certificate": self._client.certificate,
            "triton_tls_key": self._client.key,
        }

    def command(self):
        return [
            *super().command(),
            "--grpc-use-ssl-mutual=true",
            f"--grpc-server-cert={self._server.certificate}",
            f"--grpc-server-key={self._server.key}",
            f"--grpc-root-cert={self._client.certificate}",
        ]

    async def _until_ready(self):
        client = TritonClient(self.url, credentials=triton_credentials(Settings(**self.as_settings())))
        try:
            while not await client.is_ready("asr_stream"):
                assert self.is_running(), self.log_path.read_text()[-2_000:]
                await asyncio.sleep(0.05)
        finally:
            await client.close()


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    return {name: certificate(tmp_path_factory.mktemp(name)) for name in ("frontend", "triton", "client")}


@pytest.fixture(scope="module")
async def triton(pairs, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        # `asr_stream` is a client of its own server.
        patch.setenv("ASR_STREAM_TRITON_TLS_ROOTS", str(pairs["triton"].certificate))
        patch.setenv("ASR_STREAM_TRITON_TLS_CERTIFICATE", str(pairs["client"].certificate))
        patch.setenv("ASR_STREAM_TRITON_TLS_KEY", str(pairs["client"].key))
        folder = tmp_path_factory.mktemp("cache")
        settings = Settings(cache_dir=folder, triton_control_key_file=folder / "control")
        server = TlsTriton(settings, pairs["triton"], pairs["client"])
        await server.start()
    yield server
    stop_later(server)


@pytest.fixture(scope="module")
def encrypted(triton, pairs, tmp_path_factory):
    asked = {f"ASR_{name.upper()}": str(value) for name, value in triton.as_settings().items()}
    with running_service(
        ASR_CACHE_DIR=str(tmp_path_factory.mktemp("cache")),
        ASR_TLS_CERTIFICATE=str(pairs["frontend"].certificate),
        ASR_TLS_KEY=str(pairs["frontend"].key),
        **asked,
    ) as running:
        yield running


async def test_files_and_live_speech_over_https(encrypted, pairs, english):
    context = ssl.create_default_context(cafile=pairs["frontend"].certificate)
    assert encrypted.url.startswith("https://")
    http = httpx.Client(verify=context)
    with OpenAI(base_url=f"{encrypted.url}/v1", api_key="none", max_retries=0, timeout=60, http_client=http) as client:
        content = ("a.flac", (RECORDINGS / "english.flac").read_bytes())
        answer = await asyncio.to_thread(client.audio.transcriptions.create, model="whisper-1", file=content)
    assert answer.text == ENGLISH
    url = encrypted.url.replace("https", "wss") + "/ws/transcribe"
    async with connect(url, ssl=context, origin=encrypted.url) as ws:
        listening = asyncio.create_task(events_of(ws))
        await feed(ws, s16(english))
        await ws.send(json.dumps({"action": "end"}))
        events = await asyncio.wait_for(listening, 60)
    assert [event["text"] for event in events if event["type"] == "final"] == [ENGLISH]
    # In clear text nobody is heard, and who does not know the certificate does not go on.
    with pytest.raises(httpx.TransportError):
        httpx.get(encrypted.url.replace("https", "http"), timeout=10)
    with pytest.raises(httpx.ConnectError):
        httpx.get(encrypted.url, timeout=10)


async def test_triton_takes_nobody_without_a_certificate(triton, pairs):
    known = triton.as_settings()
    strangers = [
        {**known, "triton_tls_certificate": None, "triton_tls_key": None},
        {**known, "triton_tls_certificate": pairs["frontend"].certificate, "triton_tls_key": pairs["frontend"].key},
        # Another server than the one that is trusted.
        {**known, "triton_tls_roots": pairs["frontend"].certificate},
        {"triton_url": triton.url},
    ]
    for asked, welcome in [(known, True), *((stranger, False) for stranger in strangers)]:
        client = TritonClient(triton.url, credentials=triton_credentials(Settings(**asked)))
        assert await client.is_ready("asr") is welcome
        await client.close()
