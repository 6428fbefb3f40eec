"""Several processes of `asr_stream`, as on a machine of many cores."""

import asyncio
import urllib.request

import anyio
import pytest

from frontend.triton.client import TritonClient
from frontend.triton.process import EmbeddedTriton
from tests.integration.asking import text
from tests.integration.test_asr_stream import fed, listen, of

NUM_SESSIONS = 6


@pytest.fixture(scope="module")
async def two(settings):
    server = EmbeddedTriton(settings.model_copy(update={"processes": "2"}))
    await server.start()
    yield server
    await server.stop()


def begun(server):
    """Sessions by instance, as the server's metrics tell them."""
    with urllib.request.urlopen(f"http://127.0.0.1:{server.metrics_port}/metrics", timeout=10) as page:
        lines = page.read().decode().splitlines()
    told = dict(line.rsplit(" ", 1) for line in lines if line.startswith("asr_stream_sessions_begun_total{"))
    return {name: float(value) for name, value in told.items()}


async def test_sessions_are_spread_and_hear_what_one_process_hears(two, english):
    client = TritonClient(two.url)
    expected = await text(client, english)
    await client.close()
    heard = await asyncio.gather(*(listen(two.url, fed(english)) for _ in range(NUM_SESSIONS)))
    assert [of(events, "final")[0]["text"] for events in heard] == [expected] * NUM_SESSIONS
    with anyio.fail_after(10):
        while sum(begun(two).values()) < NUM_SESSIONS:
            await asyncio.sleep(0.1)
    assert sorted(begun(two).values()) == [NUM_SESSIONS / 2] * 2


async def test_a_model_that_is_loaded_again_has_as_many(two):
    client = TritonClient(two.url, lambda: two.control_key)
    await client.unload("asr_stream")
    await client.load("asr_stream", 60)
    groups = (await client.config("asr_stream")).instance_group
    await client.close()
    assert [group.count for group in groups] == [2]
