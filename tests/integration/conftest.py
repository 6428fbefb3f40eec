"""The real Triton with every model loaded, once for all tests that only ask."""

from __future__ import annotations

import pytest

from frontend.settings import Settings
from frontend.triton.client import TritonClient
from frontend.triton.process import EmbeddedTriton
from tests.conftest import ROOT
from tests.endings import stop_later


@pytest.fixture(scope="session")
def settings(tmp_path_factory):
    if not (ROOT / "model_repository" / "decoder" / "1" / "checkpoint" / "export.json").is_file():
        pytest.fail("the models are not exported: run `make tiny`")
    return Settings(cache_dir=tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
async def triton(settings):
    server = EmbeddedTriton(settings)
    await server.start()
    yield server
    stop_later(server)


@pytest.fixture(scope="session")
async def client(triton):
    made = TritonClient(triton.url)
    yield made
    await made.close()
