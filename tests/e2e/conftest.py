"""The whole service as a user starts it: `python -m frontend` on a port of its own."""

from __future__ import annotations

import pytest
from openai import AsyncOpenAI, OpenAI

from perf.service import running_service
from tests.chat_server import chat_server
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


@pytest.fixture(scope="module")
def chat():
    with chat_server() as running:
        yield running


@pytest.fixture(scope="module")
def worded(chat, tmp_path_factory):
    """A service with a chat endpoint, and lists and roles of its own."""
    folder = tmp_path_factory.mktemp("worded")
    for name in ("lists", "roles"):
        (folder / name).mkdir()
    (folder / "lists" / "zeros.txt").write_text("action: drop\n\nzero\n")
    (folder / "lists" / "fives.en.txt").write_text("action: mask\n\nfive\n")
    (folder / "roles" / "minutes.txt").write_text("kind: tells\nabout: minutes\n\nWrite the minutes.\n")
    (folder / "key").write_text("zyx-the-key\n")
    with ended_later(
        running_service(
            ASR_CACHE_DIR=str(tmp_path_factory.mktemp("cache")),
            ASR_FILTERS_DIR=str(folder / "lists"),
            ASR_CORRECTION_URL=chat.at("changing"),
            ASR_CORRECTION_MODEL="some-model",
            ASR_CORRECTION_KEY_FILE=str(folder / "key"),
            ASR_CORRECTION_ROLES_DIR=str(folder / "roles"),
            ASR_CORRECTION_TIMEOUT_S="2",
        )
    ) as running:
        yield running
