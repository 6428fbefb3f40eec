"""One frontend before two Tritons: files and live sessions go on where one is killed or drained."""

import asyncio
import contextlib
import json
import os
import signal

import httpx
import jsonschema
import numpy as np
import pytest
import websockets

from frontend.settings import Settings
from frontend.triton.process import EmbeddedTriton
from perf.service import running_service
from tests.conftest import RECORDINGS, read
from tests.e2e.test_healing import TEXT, files_until, session, shown
from tests.e2e.test_live import SCHEMA
from tests.endings import stop_later


class Pair:
    """Two Tritons, a file that names them, and the frontend before them."""

    def __init__(self, folder):
        self.folder = folder
        self.named = folder / "servers"
        self.tritons = []

    def settings(self, **given):
        key = self.folder / "control-key"
        return Settings(cache_dir=self.folder, triton_control_key_file=key, **{"triton_grpc_port": 0, **given})

    async def start(self):
        self.tritons = [EmbeddedTriton(self.settings()) for _ in range(2)]
        await asyncio.gather(*(triton.start() for triton in self.tritons))
        self.name()

    async def start_again(self, number):
        """At the same port."""
        before = self.tritons[number]
        await before.stop()
        self.tritons[number] = EmbeddedTriton(self.settings(triton_grpc_port=before.grpc_port))
        await self.tritons[number].start()

    def name(self, *weights):
        """Those of the file, by weights."""
        lines = [f"{one.url}={weight}" for one, weight in zip(self.tritons, weights or (1, 1), strict=True)]
        self.named.with_suffix(".fresh").write_text("\n".join(lines))
        self.named.with_suffix(".fresh").replace(self.named)

    def kill(self, number):
        """The server with all processes of its models."""
        os.killpg(self.tritons[number].pid, signal.SIGKILL)

    async def servers(self, client):
        """What health says of each, in their order."""
        told = {one["url"]: one for one in (await client.get("/health")).json()["servers"]}
        return [told[triton.url] for triton in self.tritons]

    async def until(self, client, condition):
        async with asyncio.timeout(40):
            while not condition(servers := await self.servers(client)):
                await asyncio.sleep(0.05)
        return servers


@pytest.fixture(scope="module")
async def pair(tmp_path_factory):
    made = Pair(tmp_path_factory.mktemp("pair"))
    await made.start()
    environment = {
        "ASR_TRITON_URLS": json.dumps([f"file://{made.named}"]),
        "ASR_TRITON_CONTROL_KEY_FILE": str(made.folder / "control-key"),
        "ASR_CACHE_DIR": str(made.folder / "frontend"),
        # Sizes of gathering are no part of it.
        "ASR_LIVE_GATHER_MS": "0",
    }
    with contextlib.ExitStack() as stack:
        for number in range(2):
            stack.callback(lambda number=number: stop_later(made.tritons[number]))
        made.frontend = stack.enter_context(running_service(**environment))
        made.url = made.frontend.url
        yield made


@pytest.fixture(scope="module")
def speech():
    """Two utterances, with pauses between them: int16."""
    english = read(RECORDINGS / "english.flac")
    pause = np.zeros(24_000, dtype=np.float32)
    samples = np.concatenate([pause, english, pause, english, pause])
    return (samples * 32_767).astype("<i2")


@pytest.fixture(scope="module")
async def undisturbed(pair, speech):
    return await session(pair.url, speech, asyncio.Event(), pace_s=0.02)


@pytest.fixture
async def client(pair):
    async with httpx.AsyncClient(base_url=pair.url, timeout=60) as made:
        yield made


async def always_ready(client, done):
    """Every answer of /health/ready until then."""
    found = []
    while not done.is_set():
        found.append((await client.get("/health/ready")).status_code)
        await asyncio.sleep(0.05)
    return found


async def test_both_get_files_and_live_sessions(pair, client, speech):
    content = {"file": (RECORDINGS / "english.flac").read_bytes()}
    posts = [client.post("/v1/audio/transcriptions", files=content, data={"model": "whisper-1"}) for _ in range(8)]
    assert {answer.json()["text"] for answer in await asyncio.gather(*posts)} == {TEXT}
    before = await pair.until(client, lambda told: all(one["state"] == "ready" for one in told))
    sessions = [session(pair.url, speech, asyncio.Event(), pace_s=0.02) for _ in range(4)]
    for events in await asyncio.gather(*sessions):
        assert [text for _, text, _, _ in shown(events)] == [TEXT, TEXT]
    after = await pair.servers(client)
    begun = [one["begun"]["live_sessions"] for one in after]
    assert begun == [one["begun"]["live_sessions"] + 2 for one in before]
    assert min(one["begun"]["segments"] for one in after) >= 2
    assert {one["checkpoint"] for one in after} == {"tiny"}
    metrics = (await client.get("/metrics")).text
    assert f'asr_frontend_server_ready{{server="{pair.tritons[0].url}"}} 1.0' in metrics


def assert_whole(events, undisturbed):
    """Each utterance once, in its time, with nothing taken back."""
    kinds = [event["type"] for event in events]
    assert shown(events) == shown(undisturbed)
    assert "error" not in kinds
    assert kinds.count("opened") == kinds.count("closed") == 1
    stable = {}
    for event in events:
        jsonschema.validate(event, SCHEMA)
        if event["type"] in ("partial", "final"):
            assert event["text"].startswith(stable.get(event["utterance"], "")) or event.get("revised")
            stable[event["utterance"]] = event["stable"]


@pytest.mark.timeout(180)
async def test_one_is_killed_and_nobody_loses_anything(pair, client, speech, undisturbed):
    done, begun = asyncio.Event(), [asyncio.Event() for _ in range(4)]
    looking = asyncio.create_task(always_ready(client, done))
    files = [asyncio.create_task(files_until(client, done)) for _ in range(2)]
    sessions = [asyncio.create_task(session(pair.url, speech, ready)) for ready in begun]
    await asyncio.wait_for(asyncio.gather(*(ready.wait() for ready in begun)), 60)
    pair.kill(0)
    told = await asyncio.gather(*sessions)
    for events in told:
        assert_whole(events, undisturbed)
    moved = sum(event["type"] == "resumed" for events in told for event in events)
    assert moved == 2
    lost, other = await pair.until(client, lambda told: told[0]["state"] == "lost")
    assert other["state"] == "ready"
    assert lost["lost"]
    done.set()
    answers = [answer for several in await asyncio.gather(*files) for answer in several]
    assert {answer.status_code for answer in answers} == {200}, [answer.text for answer in answers]
    assert {answer.json()["text"] for answer in answers} == {TEXT}
    assert set(await looking) == {200}, "one of them answered all the while"
    await pair.start_again(0)
    back, _ = await pair.until(client, lambda told: told[0]["state"] == "ready")
    sessions = [session(pair.url, speech, asyncio.Event(), pace_s=0.02) for _ in range(2)]
    await asyncio.gather(*sessions)
    after, _ = await pair.servers(client)
    assert after["begun"]["live_sessions"] > back["begun"]["live_sessions"]


@pytest.mark.timeout(180)
async def test_each_is_drained_in_turn_and_nobody_loses_anything(pair, client, speech, undisturbed):
    for number in range(2):
        begun = [asyncio.Event() for _ in range(4)]
        sessions = [asyncio.create_task(session(pair.url, speech, ready)) for ready in begun]
        await asyncio.wait_for(asyncio.gather(*(ready.wait() for ready in begun)), 60)
        pair.name(*(int(other != number) for other in range(2)))
        told = await asyncio.gather(*sessions)
        for events in told:
            assert_whole(events, undisturbed)
        drained = (await pair.until(client, lambda told, number=number: told[number]["state"] == "drained"))[number]
        begun_there = drained["begun"]
        await session(pair.url, speech, asyncio.Event(), pace_s=0.02)
        assert (await pair.servers(client))[number]["begun"] == begun_there, "nothing new goes there"
        pair.name(1, 1)
        await pair.until(client, lambda told: all(one["state"] == "ready" for one in told))


async def test_a_session_in_silence_leaves_a_drained_server_by_itself(pair, client, speech):
    """It sends nothing, and would have to wait for its next words to hear that it is to go."""
    async with websockets.connect(f"{pair.url.replace('http', 'ws', 1)}/ws/transcribe", open_timeout=30) as socket:

        async def until(kind):
            while (event := json.loads(await asyncio.wait_for(socket.recv(), 60)))["type"] != kind:
                assert event["type"] != "error", event
            return event

        await until("opened")
        await socket.send(speech[: speech.size // 2].tobytes())
        assert (await until("final"))["text"] == TEXT
        place = [one["live_sessions"] > 0 for one in await pair.until(client, lambda told: any(_busy(told)))]
        pair.name(*(int(not is_there) for is_there in place))
        await until("resumed")
        pair.name(1, 1)
        await socket.send(speech[speech.size // 2 :].tobytes())
        await socket.send(json.dumps({"action": "end"}))
        assert (await until("final"))["text"] == TEXT
        await until("closed")


def _busy(told):
    return [one["live_sessions"] > 0 for one in told]
