"""The load generators on a service that runs: what they count is what was asked and answered."""

import asyncio
import json
import subprocess
import sys

import pytest

from export.speech import read_speech
from perf.live.processes import used
from perf.loads.accuracy import live, offline
from perf.loads.analyzer import run as analyze
from perf.loads.apart import GRPC, WEBSOCKET, Speakers, speaking_apart
from perf.loads.clip_load import clip_load, long_clip
from perf.loads.http_load import Upload, http_load, uploads
from perf.loads.load import Load
from perf.loads.mixed import Mixed, mixed
from perf.loads.ws_load import ws_load
from perf.peers.environments import PeerMissing
from perf.peers.perf_analyzer import binary
from perf.speech.clips import mixed_clips
from tests.conftest import RECORDINGS, ROOT


@pytest.fixture(scope="module")
def files():
    return uploads(sorted(RECORDINGS.glob("*.flac")))


@pytest.mark.parametrize("stream", [False, True])
async def test_http_load_counts_what_was_answered(service, files, stream):
    load = await http_load(service.url, files, clients=3, seconds=1.5, stream=stream)
    row = load.row()
    assert row["requests"] >= 3
    assert row["errors"] == 0
    assert row["rtfx"] > 1
    assert 0 < row["p50_ms"] <= row["p95_ms"] <= row["p99_ms"]
    assert bool(load.first_texts) == stream
    if stream:
        assert row["ttft_p50_ms"] < row["p50_ms"]


async def test_errors_are_counted_and_not_hidden(service):
    load = await http_load(service.url, [Upload("a.wav", b"nothing", 1.0)], clients=1, seconds=0.5)
    assert load.errors
    assert not load.latencies
    assert "cannot be decoded" in load.errors[0]


async def test_ws_load_hears_every_utterance(service):
    found = await ws_load(service.url, 2, 6.0)
    row = found.row()
    assert row["errors"] == row["dropped"] == 0
    assert found.spoken >= 2
    assert 0 < row["partial_p50_ms"] < 5_000
    assert 0 < row["final_p50_ms"] < 5_000
    assert row["first_p50_ms"] > 0
    assert 0.5 < row["stability"] <= 1


async def test_mixed_load_tells_both_sides(service, files):
    found = Mixed()
    await mixed(service.url, 2, lambda seconds, load: http_load(service.url, files, 2, seconds, into=load), 4.0, found)
    assert found.errors() == 0
    assert found.late(50) > 0
    assert found.late(95) > 0
    assert 0 < found.bulk_share() < 2
    assert [row["streams"] for row in found.rows("files")] == [2, 2]
    assert found.bulk_beside.seconds > 4.0


async def test_accuracy_offline_and_live_hear_the_recordings(service):
    grpc = service.health()["triton"]["url"]
    speech = read_speech(RECORDINGS)
    told = await offline(grpc, speech)
    spoken = await live(grpc, speech)
    assert {one.text for one in told} == {"four two seven nine zero one five", "三八零二六"}
    assert [one.text for one in spoken] == [one.text for one in told]
    assert all(one.words_told and one.first_word_s for one in spoken)


async def test_accuracy_tells_what_failed():
    told = await offline("127.0.0.1:1", read_speech(RECORDINGS)[:1])
    assert told[0].error
    assert told[0].text == ""


def test_the_command_prints_a_table_and_writes_figures(service, tmp_path):
    manifest = tmp_path / "manifest.jsonl"
    row = {"audio": str(RECORDINGS / "english.flac"), "text": "Four two seven, nine zero one FIVE!"}
    manifest.write_text(json.dumps(row) + "\n")
    command = [sys.executable, "-m", "perf", "accuracy", str(manifest), "--url", service.url]
    command += ["--normalize", "basic", "--json", str(tmp_path / "figures.json")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "| offline | all | WER | 1 | 0.00 % |" in done.stdout
    assert json.loads((tmp_path / "figures.json").read_text())["accuracy.1.error_rate"] == "0.00 %"


def test_one_wrong_digit_is_one_word_of_the_command(service, tmp_path):
    manifest = tmp_path / "manifest.jsonl"
    row = {"audio": str(RECORDINGS / "english.flac"), "text": "four two seven nine zero one eight"}
    manifest.write_text(json.dumps(row) + "\n")
    command = [sys.executable, "-m", "perf", "accuracy", str(manifest), "--url", service.url, "--no-live"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "| offline | all | WER | 1 | 14.29 % |" in done.stdout
    assert "every text is a string of digits" in done.stdout


def test_a_mistake_is_one_line(tmp_path):
    command = [sys.executable, "-m", "perf", "accuracy", str(tmp_path / "none.jsonl"), "--url", "http://127.0.0.1:1"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert done.stdout == f"error: {tmp_path / 'none.jsonl'} does not exist\n"


@pytest.fixture(scope="module")
def perf_analyzer():
    """Installed where it is not there: only a machine without the registry or a wheel goes without."""
    try:
        return binary()
    except PeerMissing as error:
        pytest.skip(str(error))


@pytest.mark.timeout(600)
@pytest.mark.parametrize("model", ["asr", "asr_stream"])
def test_perf_analyzer_measures(service, perf_analyzer, model):
    grpc = service.health()["triton"]["url"]
    rows, summary = analyze(grpc, model, mixed_clips(4), [2], window_ms=1_000)
    assert rows[0].per_second > 0
    assert rows[0].p50_ms <= rows[0].p99_ms
    assert "Concurrency: 2" in summary
    assert asyncio.run(offline(grpc, read_speech(RECORDINGS)[:1]))[0].error is None


@pytest.mark.timeout(600)
def test_the_command_lines_that_ran_can_be_typed_again(service, perf_analyzer, tmp_path):
    command = [sys.executable, "-m", "perf", "analyzer", "vad", "--url", service.url]
    command += ["--files", str(RECORDINGS), "--levels", "1", "2", "--leave", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = [line.removeprefix("$ ") for line in done.stdout.splitlines() if line.startswith("$ ")]
    assert len(lines) == 2
    assert {path.name for path in tmp_path.iterdir()} == {"vad.json", "vad-1.csv", "vad-2.csv"}
    # With an option of one's own: a third of the time.
    line = lines[1].replace("--measurement-interval 3000", "--measurement-interval 1000")
    assert line != lines[1]
    typed = subprocess.run(line, shell=True, cwd=ROOT, capture_output=True, text=True, timeout=100, check=False)
    assert typed.returncode == 0, typed.stdout + typed.stderr
    assert "Concurrency: 2, throughput:" in typed.stdout


@pytest.mark.parametrize("way", [WEBSOCKET, GRPC])
async def test_streams_of_another_process_are_heard_and_their_cost_is_seen(service, way):
    address = service.url if way == WEBSOCKET else service.grpc_url()
    async with speaking_apart(Speakers(way, address, 2, 6.0, 40)) as speaking:
        before = used(service.pid)
        spoken = await speaking.spoken()
    spent = used(service.pid).since(before)
    row = spoken.streams.row()
    assert row["errors"] == row["dropped"] == 0
    assert spoken.streams.spoken >= 2
    assert spoken.streams.audio_seconds == pytest.approx(12.0)
    assert spoken.client_cpu_s > 0
    for part in ("tritonserver", "asr_stream", "decoder", "encoder"):
        assert spent.parts[part] > 0, part
    assert 0 < spent.network_s < spent.parts["decoder"]
    assert spent.alone_s(("decoder",))["decoder"] == pytest.approx(spent.parts["decoder"] - spent.network_s)


async def test_streams_that_cannot_begin_say_why():
    async with speaking_apart(Speakers(WEBSOCKET, "http://127.0.0.1:1", 2, 1.0, 100)) as speaking:
        spoken = await speaking.spoken()
    assert len(spoken.streams.errors) == 2
    assert "refused" in spoken.streams.errors[0].lower()


async def test_a_crowd_loses_no_final(service):
    async with speaking_apart(Speakers(WEBSOCKET, service.url, 20, 30.0, 100, share=0.1)) as speaking:
        spoken = await speaking.spoken()
    assert spoken.streams.errors == []
    assert spoken.streams.spoken >= 10
    assert spoken.streams.dropped == 0
    assert len(spoken.streams.pause) >= 10


async def test_long_clips_are_asked_for_by_grpc(service):
    load = Load()
    await clip_load(service.grpc_url(), long_clip(30.0), 2, 1.0, load)
    assert load.errors == []
    assert load.audio_seconds == pytest.approx(30.0 * len(load.latencies))
    assert load.row()["rtfx"] > 1
