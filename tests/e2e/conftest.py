"""The whole service as a user starts it: `python -m frontend` on a port of its own."""

from __future__ import annotations

import pytest
from openai import AsyncOpenAI, OpenAI

from perf.service import running_service
from tests.endings import ended_later


@pytest.fixture(scope="session")
def service(tmp_path_factory):
    lists = tmp_path_factory.mktemp("hotwords")
    (lists / "numbers.txt").write_text("# of the switchboard\nfour two seven nine zero one nine\t10\n")
    (lists / "wrong.txt").write_text("four\tmuch\n")
    cache = tmp_path_factory.mktemp("cache")
    with ended_later(running_service(ASR_CACHE_DIR=str(cache), ASR_HOTWORDS_DIR=str(lists))) as running:
        yield running


@pytest.fixture(scope="session")
def openai_client(service):
    with OpenAI(base_url=f"{service.url}/v1", api_key="none", max_retries=0, timeout=60) as client:
        yield client


@pytest.fixture(scope="session")
async def async_openai_client(service):
    async with AsyncOpenAI(base_url=f"{service.url}/v1", api_key="none", max_retries=0, timeout=60) as client:
        yield client
