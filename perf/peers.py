"""The official SDK in its own environment, and our engine, on the same random weights and clips."""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from perf.clips import mixed_clips
from perf.environments import PeerMissing, environment
from perf.random_checkpoint import slow_tokenizer, write_checkpoint

TOKENS = 24
SCRIPT = """
import json, sys, time
import numpy as np, torch
from qwen_asr import Qwen3ASRModel
folder, clips, tokens, threads = sys.argv[1], np.load(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
torch.set_num_threads(threads)
model = Qwen3ASRModel.from_pretrained(folder, dtype=torch.float32, device_map="cpu", max_inference_batch_size=8,
                                      max_new_tokens=tokens)
audio = [(clips[name], 16000) for name in clips.files]
model.transcribe(audio=audio[:1], language="English")
started = time.perf_counter()
model.transcribe(audio=audio, language="English")
print(json.dumps({"seconds": time.perf_counter() - started}))
"""


def sdk_speed(quick: bool) -> dict[str, float]:
    """sdk.ours_over_sdk: seconds of PyPI's qwen-asr over ours, both float32 on the CPU with all threads, the whole way
    from samples to tokens. Random weights seldom end, so that both write `TOKENS` tokens. Raises PeerMissing."""
    python = environment("qwen_asr") / "bin" / "python"
    clips = mixed_clips(8)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        checkpoint = folder / "checkpoint"
        write_checkpoint(checkpoint, "small" if quick else "0.6b", "original", torch.float32)
        ours = _ours(checkpoint, clips)
        slow_tokenizer(checkpoint)
        np.savez(folder / "clips.npz", *clips)
        command = [str(python), "-c", SCRIPT, str(checkpoint), str(folder / "clips.npz"), str(TOKENS)]
        done = subprocess.run(
            [*command, str(torch.get_num_threads())], capture_output=True, text=True, timeout=600, check=False
        )
        if done.returncode:
            raise PeerMissing(f"qwen-asr did not run: {done.stderr.strip().splitlines()[-1][:300]}")
        theirs = float(json.loads(done.stdout.splitlines()[-1])["seconds"])
    return {"sdk.seconds": theirs, "sdk.our_seconds": ours, "sdk.ours_over_sdk": theirs / ours, "sdk.tokens": TOKENS}


def _ours(checkpoint: Path, clips: list[np.ndarray]) -> float:
    from export.local import LocalAsr

    with LocalAsr(checkpoint, max_running=8, kv_cache_tokens=4_096) as asr:
        asr.transcribe(clips[:1], "English", max_new_tokens=TOKENS)
        started = time.perf_counter()
        asr.transcribe(clips, "English", max_new_tokens=TOKENS)
        return time.perf_counter() - started
