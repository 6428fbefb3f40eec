"""The small checkpoint beside the accurate one, from the same code."""

import difflib
import json

import numpy as np
import pytest

from export.local import LocalAsr
from frontend.triton.client import TritonClient
from frontend.triton.process import EmbeddedTriton
from tests.conftest import ROOT, TINY_FAST
from tests.endings import stop_later
from tests.integration.asking import answer, infer, stream

REPOSITORY = ROOT / "model_repository"


@pytest.mark.parametrize("room", ["encoder", "decoder"])
def test_the_fast_rooms_are_links_and_miss_nothing(room):
    code = {path.name for path in (REPOSITORY / room / "1").glob("*.py")}
    code |= {path.parent.name for path in (REPOSITORY / room / "1").glob("*/__init__.py")}
    linked = [path for path in (REPOSITORY / f"{room}_fast" / "1").iterdir() if path.is_symlink()]
    assert {path.name for path in linked} == code
    assert all(path.resolve() == (REPOSITORY / room / "1" / path.name).resolve() for path in linked)
    assert (REPOSITORY / f"{room}_fast" / "config.pbtxt").resolve() == REPOSITORY / room / "config.pbtxt"


@pytest.fixture(scope="module")
async def both(settings):
    server = EmbeddedTriton(settings, models=("asr", "asr_fast"))
    await server.start()
    client = TritonClient(server.url)
    yield server, client
    await client.close()
    stop_later(server)


async def test_the_fast_ensemble_serves_the_small_checkpoint(both, english, chinese):
    with LocalAsr(TINY_FAST) as local:
        expected = local.transcribe([english, chinese])
    for pcm, one in zip((english, chinese), expected, strict=True):
        deltas, _ = await answer(both[1], pcm, model="asr_fast", parameters={"vad": "off"})
        assert [token for delta in deltas for token in delta.token_ids] == one.token_ids


async def test_the_fast_hypothesis_is_a_draft_for_the_accurate_one(both, english):
    server, client = both
    deltas, result = await answer(client, english, model="asr_fast", parameters={"vad": "off"})
    hypothesis = [token for delta in deltas for token in delta.token_ids]
    spans = np.array([[0, english.size]], dtype=np.int32)
    features = await infer(server.url, "features", PCM=english, SPEECH=spans)
    rows = await infer(server.url, "encoder", **features)
    sent = {"EMBEDDINGS": rows["EMBEDDINGS"], "FRAMES": features["FRAMES"]}
    plain = await stream(server.url, "decoder", **sent)
    drafted = await stream(server.url, "decoder", **sent, DRAFT_IDS=np.array(hypothesis, dtype=np.int32))
    results = [json.loads(responses[-1]["RESULT"][0]) for responses in (plain, drafted)]
    assert results[0]["text"] == results[1]["text"]
    if result["text"] == results[0]["text"]:
        assert results[1]["draft"]["accepted"] == len(hypothesis)


def test_the_speculative_ensemble_is_the_default_one_with_a_draft():
    default = (REPOSITORY / "asr" / "config.pbtxt").read_text().splitlines()
    profile = (REPOSITORY / "asr" / "configs" / "speculative.pbtxt").read_text().splitlines()
    changed = [line for line in difflib.ndiff(default, profile) if line[0] in "+-" and not line[2:].startswith("#")]
    assert len(changed) == 9, changed


async def test_the_speculative_profile_answers_the_same_in_fewer_steps(both, settings, english, chinese):
    server = EmbeddedTriton(settings.model_copy(update={"model_config_name": "speculative"}))
    await server.start()
    client = TritonClient(server.url)
    try:
        for pcm in (english, chinese):
            plain, _ = await answer(both[1], pcm)
            drafted, result = await answer(client, pcm)
            assert [t for d in drafted for t in d.token_ids] == [t for d in plain for t in d.token_ids]
            assert result["draft"]["accepted"] > 0.5 * result["draft"]["tokens"] > 0
    finally:
        await client.close()
        await server.stop()
