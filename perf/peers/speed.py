"""Engines side by side on the CPU: ours, the official SDK and vLLM, on the same weights and clips, in turns."""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from export.checkpoint import Checkpoint, original_config
from export.encoder.onnx_export import export_encoder
from export.local import LocalAsr
from export.rooms import room
from perf.models.random_checkpoint import slow_tokenizer, write_checkpoint
from perf.peers.environments import PeerMissing
from perf.peers.worker import Round, peer

encoder_room, blocks_room, inputs = (
    room("encoder", "engine"),
    room("features", "blocks"),
    room("decoder", "network.embeddings"),
)
Clips = list[NDArray[np.float32]]
TOKENS = 24
TINY = Path(__file__).resolve().parents[2] / "export" / "tiny" / "tiny"


@dataclass(frozen=True)
class Compared:
    """Seconds of turns, ours and a peer's one after the other."""

    ours: list[float]
    theirs: list[float]

    def ratios(self) -> list[float]:
        """Theirs over ours in two runs: the even turns and the odd ones, the best of each."""
        return [min(self.theirs[start::2]) / min(self.ours[start::2]) for start in (0, 1)]


def compare(clips: Clips, size: str, turns: int) -> dict[str, Compared | PeerMissing]:
    """By peer. Random weights of `size` in the original layout, float32, all threads, from samples to `TOKENS` tokens a
    clip. One peer at a time is in memory."""
    found: dict[str, Compared | PeerMissing] = {}
    with tempfile.TemporaryDirectory() as name:
        checkpoint, official = Path(name) / "checkpoint", Path(name) / "official"
        write_checkpoint(checkpoint, size, "original", torch.float32)
        # The SDK wants other files beside the same weights.
        official.mkdir()
        for file in checkpoint.iterdir():
            (official / file.name).symlink_to(file)
        slow_tokenizer(official)
        with _ours(checkpoint, clips) as ours:
            for peer_name, folder in (("qwen_asr", official), ("vllm", checkpoint)):
                try:
                    with peer(peer_name, folder, clips, TOKENS) as worker:
                        pairs = [(ours(), worker.round().seconds) for _ in range(turns)]
                except PeerMissing as error:
                    found[peer_name] = error
                    continue
                found[peer_name] = Compared(*(list(one) for one in zip(*pairs, strict=True)))
    return found


def told(found: dict[str, Compared | PeerMissing]) -> tuple[list[dict[str, Any]], list[str]]:
    """A row for each peer, and why others are missing."""
    rows = [
        {
            "peer": name,
            "its seconds": min(one.theirs),
            "our seconds": min(one.ours),
            "its over ours": one.ratios()[0],
            "in another run": one.ratios()[1],
        }
        for name, one in found.items()
        if isinstance(one, Compared)
    ]
    return rows, [f"{name}: {one}" for name, one in found.items() if isinstance(one, PeerMissing)]


@contextmanager
def _ours(checkpoint: Path, clips: Clips) -> Iterator[Callable[[], float]]:
    """What Triton's models run, in this process: features, the exported encoder, the decoder's engine."""
    onnx = checkpoint.parent / "model.onnx"
    export_encoder(Checkpoint(checkpoint), onnx)
    encoder = encoder_room.BlockEncoderEngine(onnx, torch.get_num_threads(), 16)
    with LocalAsr(checkpoint, max_running=len(clips), kv_cache_tokens=4_096) as asr:

        def run() -> float:
            started = time.perf_counter()
            heard = [blocks_room.blocks_of(pcm, max_blocks=64) for pcm in clips]
            parts = (np.concatenate([getattr(one, part) for one in heard]) for part in ("mel", "frames", "clip_max"))
            rows = encoder.encode(*parts)
            counts = [[inputs.num_tokens(int(frames)) for frames in one.frames[:, 0]] for one in heard]
            blocks = iter(torch.from_numpy(rows))
            audios = [torch.cat([next(blocks)[:count] for count in clip]) for clip in counts]
            asr.answers(audios, "English", max_new_tokens=TOKENS)
            return time.perf_counter() - started

        run()
        yield run


@contextmanager
def vllm_on_tiny(clips: Clips) -> Iterator[Callable[[], Round]]:
    """vLLM with the tiny checkpoint, for the same files as ours. Raises PeerMissing."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "tiny"
        shutil.copytree(TINY, folder)
        # It reads the native weights, but the original layout's configuration.
        native = json.loads((TINY / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(original_config(native)))
        with peer("vllm", folder, clips) as worker:
            yield worker.round
