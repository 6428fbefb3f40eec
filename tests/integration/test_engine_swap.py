"""An engine swapped under load, and back: nobody's request fails."""

import asyncio
import shutil

import pytest
from tritonclient.grpc import service_pb2

from export.checkpoint import Checkpoint
from export.encoder.onnx_export import export_encoder
from export.encoder.quantize import quantize_encoder
from export.rooms import MODEL_REPOSITORY
from export.speech import read_speech
from export.versions import version_folder
from frontend.triton.client import TritonClient
from frontend.triton.process import EmbeddedTriton
from tests.conftest import RECORDINGS, TINY
from tests.integration.asking import infer, text


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    """A copy to add versions to."""
    copy = tmp_path_factory.mktemp("swap") / "model_repository"
    shutil.copytree(MODEL_REPOSITORY, copy, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    return copy


async def versions(client):
    """Versions of the encoder that serve, by Triton's index of the repository."""
    request = service_pb2.RepositoryIndexRequest(ready=True)
    index = await client._stub.RepositoryIndex(request, timeout=5, metadata=client._control())
    return sorted(int(model.version) for model in index.models if model.name == "encoder")


async def test_engines_are_swapped_under_load_without_a_failed_request(settings, repository, english, chinese):
    # The new engine is made beside the old one, which serves meanwhile.
    new = version_folder(repository, "encoder", 2) / "model.onnx"
    source = repository / "encoder" / "1" / "model.onnx"
    server = EmbeddedTriton(settings.model_copy(update={"model_repository": repository}))
    staged = new.parent.rename(repository.parent / "2")
    await server.start()
    client = TritonClient(server.url, lambda: server.control_key)
    expected = [await text(client, english), await text(client, chinese)]
    answered, stop = 0, asyncio.Event()

    async def ask(number):
        nonlocal answered
        while not stop.is_set():
            assert await text(client, (english, chinese)[number % 2]) == expected[number % 2]
            answered += 1

    async def until(count):
        target = answered + count
        while answered < target:
            await asyncio.sleep(0.02)

    try:
        asking = [asyncio.create_task(ask(number)) for number in range(6)]
        await until(12)
        assert await versions(client) == [1]
        await asyncio.to_thread(quantize_encoder, source, staged / "model.onnx", "int8", read_speech(RECORDINGS))
        staged.rename(new.parent)
        await client.load("encoder", timeout_s=60)
        await until(30)
        assert await versions(client) == [2]
        # And back: the folder goes, and the one before serves again.
        shutil.rmtree(new.parent)
        await client.load("encoder", timeout_s=60)
        await until(30)
        assert await versions(client) == [1]
        assert not any(task.done() for task in asking), [task.exception() for task in asking if task.done()]
        stop.set()
        await asyncio.wait_for(asyncio.gather(*asking), 60)
    finally:
        stop.set()
        await client.close()
        await server.stop()


async def test_an_engine_that_does_not_load_leaves_the_old_one_serving(settings, repository, english):
    folder = version_folder(repository, "encoder", 2)
    server = EmbeddedTriton(settings.model_copy(update={"model_repository": repository}), models=("asr",))
    shutil.move(folder, repository.parent / "bad")
    await server.start()
    client = TritonClient(server.url, lambda: server.control_key)
    try:
        expected = await text(client, english)
        (repository.parent / "bad" / "model.onnx").write_bytes(b"no model")
        shutil.move(repository.parent / "bad", folder)
        with pytest.raises(Exception, match=r"failed to load|model\.onnx"):
            await client.load("encoder", timeout_s=60)
        assert await text(client, english) == expected
        assert await versions(client) == [1]
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        await client.close()
        await server.stop()


async def test_half_precision_and_a_fixed_length_serve_as_they_are(settings, repository, english, chinese):
    export_encoder(Checkpoint(TINY), repository / "encoder" / "1" / "model.onnx", "fp16")
    server = EmbeddedTriton(settings.model_copy(update={"model_repository": repository}), models=("asr",))
    await server.start()
    client = TritonClient(server.url, lambda: server.control_key)
    try:
        assert await text(client, english) == "four two seven nine zero one five"
        assert await text(client, chinese) == "三八零二六"
        with pytest.raises(Exception, match="multiple of 100"):
            await infer(server.url, "encoder", **wrong_length())
    finally:
        await client.close()
        await server.stop()


def wrong_length():
    import numpy as np

    return {
        "MEL": np.zeros((1, 128, 150), dtype=np.float32),
        "FRAMES": np.array([[150]], dtype=np.int32),
        "CLIP_MAX": np.zeros((1, 1), dtype=np.float32),
    }
