"""LiveKit's and pipecat's speech to text, unmodified and with its defaults, each from an environment of its own."""

import json
import subprocess
import sys
import wave
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import ROOT
from tests.e2e.test_live import ENGLISH, s16

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

FOLDER = ROOT / ".cache" / "frameworks"
PROGRAMS = Path(__file__).parent / "frameworks"


def environment(name, package):
    """The interpreter of an environment with this package, the newest there is when it is first wanted."""
    folder = FOLDER / name
    python = folder / "bin" / "python"
    if not (folder / ".installed").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True, timeout=120)
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", package]
        done = subprocess.run(pip, capture_output=True, text=True, timeout=600, check=False)
        if done.returncode:
            pytest.skip(f"{package} cannot be installed: {done.stderr[-500:]}")
        (folder / ".installed").touch()
    return python


@pytest.fixture(scope="session")
def recording(english, tmp_path_factory):
    """The English recording as a WAV file: 16 bits, 16 kHz."""
    path = tmp_path_factory.mktemp("recording") / "english.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(s16(np.asarray(english)))
    return path


def said(python, program, service, recording, *what):
    """What the client's program tells of each."""
    done = subprocess.run(
        [str(python), str(PROGRAMS / program), service.url, str(recording), *what],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith("SAID ")]
    assert len(lines) == len(what), done.stdout[-3_000:] + done.stderr[-3_000:]
    return [json.loads(line.removeprefix("SAID ")) for line in lines]


def assert_heard(one, live):
    assert one["finals"] == [ENGLISH], one
    assert not one["errors"], one
    assert bool(one["interims"]) == live, one


def test_livekit(service, recording):
    python = environment("livekit", "livekit-plugins-openai")
    files = ["default", "gpt-transcribe", "whisper-1", "gpt-4o-transcribe-diarize"]
    for one in said(python, "livekit_client.py", service, recording, *files):
        assert_heard(one, live=False)
        assert one["language"] == "en"
    live = ["default+realtime", "gpt-transcribe+realtime", "gpt-realtime-whisper", "gpt-live-transcribe"]
    for one in said(python, "livekit_client.py", service, recording, *live):
        assert_heard(one, live=True)
        assert one["language"] == "en"


def test_pipecat(service, recording):
    python = environment("pipecat", "pipecat-ai[openai]")
    file, realtime, vad = said(python, "pipecat_client.py", service, recording, "file", "realtime", "vad")
    assert_heard(file, live=False)
    assert_heard(realtime, live=True)
    assert realtime["model"] == "gpt-realtime-whisper"
    assert_heard(vad, live=True)
