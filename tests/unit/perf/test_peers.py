"""Peers as processes: they answer rounds, or say why they cannot; nothing of theirs is left."""

import shutil
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from export.vllm import FOLDER
from perf.live.fixed_chunks import CHUNK, OVERLAP, windows
from perf.peers import rounds, worker
from perf.peers.environments import PeerMissing
from perf.peers.speed import Compared, told, vllm_on_tiny

CLIPS = [np.full(1_600, 0.25, dtype=np.float32), np.zeros(800, dtype=np.float32)]
SERVES = """
from rounds import job, serve
asked = job()
serve(lambda clips: [f"{clip.size} {clip.dtype} {asked['tokens']}" for clip in clips], asked["clips"])
"""

DIES = """
import os
from rounds import serve
rounds = []
serve(lambda clips: os._exit(3) if rounds else rounds.append(1) or [], [1])
"""


@pytest.fixture
def peer(tmp_path, monkeypatch):
    """Run a script as the peer `fake`, in this environment."""
    shutil.copy(rounds.__file__, tmp_path / "rounds.py")
    monkeypatch.setattr(worker, "HERE", tmp_path)
    monkeypatch.setattr(worker, "environment", lambda name: Path(sys.prefix))

    def start(script, timeout_s=20.0):
        (tmp_path / "fake_worker.py").write_text(script)
        return worker.peer("fake", tmp_path, CLIPS, 7, timeout_s)

    return start


def test_every_round_transcribes_all_clips(peer):
    with peer(SERVES) as running:
        for _ in range(2):
            done = running.round(10.0)
            assert done.texts == ["1600 float32 7", "800 float32 7"]
            assert 0 <= done.seconds < 10


def test_a_peer_that_cannot_start_says_its_last_words(peer):
    script = "import sys\nsys.exit('no such processor')"
    with pytest.raises(PeerMissing, match="fake did not run: no such processor"), peer(script):
        pass


def test_a_peer_that_dies_in_a_round_is_missing(peer):
    with peer(DIES) as running, pytest.raises(PeerMissing, match="fake did not run"):
        running.round(10.0)


def test_a_peer_that_does_not_answer_is_missing_and_ends_with_what_it_started(peer):
    script = "import subprocess, time\nsubprocess.Popen(['sleep', '4321'])\ntime.sleep(600)"
    started = time.monotonic()
    with pytest.raises(PeerMissing, match="did not answer within 1 s"), peer(script, timeout_s=1.0):
        pass
    assert time.monotonic() - started < 30
    assert not [one for one in psutil.process_iter(["cmdline"]) if one.info["cmdline"] == ["sleep", "4321"]]


def test_two_runs_of_a_ratio_take_the_best_of_every_second_turn():
    compared = Compared(ours=[2.0, 4.0, 1.0, 5.0], theirs=[4.0, 8.0, 3.0, 12.0])
    assert compared.ratios() == [3.0, 2.0]
    rows, missing = told({"one": compared, "other": PeerMissing("no wheel")})
    assert rows[0]["its over ours"] == 3.0
    assert missing == ["other: no wheel"]


def test_fixed_chunks_hear_every_sample_and_some_twice():
    pcm = np.arange(3 * CHUNK + 100, dtype=np.float32)
    found = windows(pcm)
    assert [one.size for one in found] == [CHUNK, CHUNK + OVERLAP, CHUNK + OVERLAP, 100 + OVERLAP]
    assert [one[0] for one in found] == [0, CHUNK - OVERLAP, 2 * CHUNK - OVERLAP, 3 * CHUNK - OVERLAP]


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.skipif(not any(FOLDER.glob(".installed-*")), reason="vLLM is not installed")
def test_vllm_hears_the_recordings():
    from perf.speech.clips import RECORDINGS, recording

    with vllm_on_tiny([recording(RECORDINGS / f"{name}.flac") for name in ("english", "chinese")]) as transcribe:
        assert transcribe().texts == ["four two seven nine zero one five", "三八零二六"]
