"""Watchers of the real Triton: they heal once, do not fight, and try nothing that they may not."""

import asyncio
import contextlib
import logging
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from frontend.triton.client import TritonClient
from frontend.triton.process import EmbeddedTriton
from frontend.triton.watcher import Watcher
from tests.endings import stop_later
from tests.integration.repositories import REPOSITORY

MODELS = ("vad", "features")


@pytest.fixture(scope="module")
def small_settings(settings, tmp_path_factory):
    """Of a repository with the two models that are there soonest."""
    repository = tmp_path_factory.mktemp("repository")
    for model in MODELS:
        (repository / model).symlink_to(REPOSITORY / model)
    return settings.model_copy(update={"model_repository": repository})


@pytest.fixture(scope="module")
async def server(small_settings):
    made = EmbeddedTriton(small_settings, MODELS)
    await made.start()
    yield made
    stop_later(made)


class Uncontrolled(EmbeddedTriton):
    """A Triton whose models are somebody else's care: all of them are loaded at its start."""

    def command(self):
        command = [part for part in super().command() if not part.startswith("--load-model")]
        return [part.replace("mode=explicit", "mode=none") for part in command]


@contextlib.asynccontextmanager
async def watched(url, key=""):
    """A watcher at work; `rounds` are those that it has ended."""
    client = TritonClient(url, lambda: key)
    watcher = Watcher(client, MODELS)
    watcher.rounds = 0
    client.on_failure = watcher.suspect

    def count():
        watcher.rounds += 1

    running = asyncio.create_task(watcher.run(count))
    try:
        yield watcher
        assert not running.done(), "the watcher gave up"
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await client.close()


def pids_of(server, model):
    """Of the model's processes that live: none while it is loaded again."""
    found = []
    for process in psutil.Process(server.pid).children(recursive=True):
        with contextlib.suppress(psutil.Error):
            words = process.cmdline() if process.status() != psutil.STATUS_ZOMBIE else []
            if any(word.endswith(f"/{model}/1/model.py") for word in words):
                found.append(process.pid)
    return found


def process_of(server, model):
    (pid,) = pids_of(server, model)
    return psutil.Process(pid)


async def a_whole_round(watcher):
    """One that began after this."""
    ended = watcher.rounds
    await until(lambda: watcher.rounds > ended + 1)


async def until(condition, timeout_s=30):
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < timeout_s, "it did not happen"
        await asyncio.sleep(0.02)


@pytest.mark.parametrize("model", MODELS)
async def test_two_watchers_heal_a_model_once_each_time(server, model):
    async with watched(server.url, server.control_key) as one, watched(server.url, server.control_key) as other:
        for kills in (1, 2):
            process_of(server, model).send_signal(signal.SIGKILL)
            await until(lambda kills=kills: one.healed[model] + other.healed[model] == kills)
            await until(lambda: not one.unhealthy and not other.unhealthy)
            healed = process_of(server, model)
            # Rounds of both that began before it was back have ended after these.
            await asyncio.gather(a_whole_round(one), a_whole_round(other))
            assert healed.is_running()
            assert one.healed[model] + other.healed[model] == kills
        assert not [name for name in one.healed | other.healed if name != model]


async def test_a_process_of_its_own_heals_and_says_what_is_not_well(server, tmp_path):
    """The two ways that every profile has are not in this repository: that is told, and keeps it from nothing."""
    key = tmp_path / "key"
    key.write_text(server.control_key)
    environment = {
        **os.environ,
        "ASR_TRITON_URL": server.url,
        "ASR_TRITON_CONTROL_KEY_FILE": str(key),
        "ASR_CACHE_DIR": str(tmp_path),
    }
    command = [sys.executable, "-m", "frontend.triton.watcher"]
    watching = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    try:
        await until((tmp_path / "watcher.json").exists)
        told = await asyncio.to_thread(
            subprocess.run, [*command, "--healthy"], env=environment, capture_output=True, check=False
        )
        assert told.returncode == 1
        assert b"asr: it is not loaded" in told.stdout
        killed = process_of(server, "vad")
        killed.send_signal(signal.SIGKILL)
        await until(lambda: any(pid != killed.pid for pid in pids_of(server, "vad")))
        async with watched(server.url, server.control_key) as watcher:
            # Of the next test as well: the new process is there before the model is.
            await until(lambda: watcher.rounds > 1 and not watcher.unhealthy)
    finally:
        watching.terminate()
        assert await asyncio.to_thread(watching.wait, 20) == 0


def said(caplog):
    return [record.message for record in caplog.records if "cannot be loaded again by us" in record.message]


async def test_with_a_wrong_secret_health_is_told_and_nothing_is_tried(server, caplog):
    with caplog.at_level(logging.ERROR):
        async with watched(server.url, "guessed") as watcher:
            await until(lambda: watcher.forbidden)
            await a_whole_round(watcher)
            assert not watcher.unhealthy, "the models answer, whoever may load them"
            process_of(server, "vad").send_signal(signal.SIGKILL)
            await until(lambda: "vad" in watcher.unhealthy)
            await a_whole_round(watcher)
            assert len(said(caplog)) == 1
            assert not watcher.healed
        async with watched(server.url, server.control_key) as watcher:
            await until(lambda: watcher.healed["vad"] == 1)


async def test_where_models_are_somebody_elses_care_it_is_said_once(small_settings, caplog):
    server = Uncontrolled(small_settings, MODELS)
    await server.start()
    try:
        with caplog.at_level(logging.ERROR):
            async with watched(server.url, server.control_key) as watcher:
                process_of(server, "features").send_signal(signal.SIGKILL)
                await until(lambda: watcher.forbidden)
                await a_whole_round(watcher)
                assert "features" in watcher.unhealthy
                assert len(said(caplog)) == 1
    finally:
        await server.stop()
