"""How well tiny-aligner tells times: milliseconds from the truth, over speech that it was not trained on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm
from transformers import AutoProcessor, Qwen3ASRForTokenClassification

from export.tiny.compose import Corpus
from export.tiny.timed_speech import TimedUtterance, timed_strings
from export.tiny.voices import HELD_OUT_VOICE, WORDS


def evaluate_aligner(banks: Path, held_out_speaker: str, folder: Path, json_path: Path | None) -> None:
    """Print the figures of the model card, by transformers. folder: the checkpoint's."""
    model = Qwen3ASRForTokenClassification.from_pretrained(folder, dtype=torch.float32).eval()
    processor = AutoProcessor.from_pretrained(folder)
    figures: dict[str, float] = {}
    for name, clips in _test_sets(banks, held_out_speaker).items():
        off = np.concatenate([_off_ms(model, processor, clip) for clip in tqdm(clips, desc=name, leave=False)])
        figures |= {
            f"{name}.words": off.size // 2,
            f"{name}.mean_ms": round(float(off.mean()), 1),
            f"{name}.median_ms": round(float(np.median(off)), 1),
            f"{name}.p95_ms": round(float(np.percentile(off, 95)), 1),
        }
    for name, value in figures.items():
        print(f"{name:40} {value}")
    if json_path is not None:
        json_path.write_text(json.dumps(figures, indent=2) + "\n")


def _test_sets(banks: Path, held_out_speaker: str) -> dict[str, list[TimedUtterance]]:
    labels = json.loads((banks / "human" / "labels.json").read_text())["labels"]
    known, stranger = Corpus(), f"human-{held_out_speaker}"
    for voice in sorted({row["voice"] for row in labels} - {stranger}):
        known.digits.update(Corpus.testing(banks, voice).digits)
    return {
        "known_speakers": timed_strings(known, 300, 2, 7, seed=11),
        "known_speakers_long": timed_strings(known, 100, 8, 12, seed=12),
        "known_speakers_very_long": timed_strings(known, 100, 14, 24, seed=16),
        "stranger_human": timed_strings(Corpus.of_voice(banks, stranger), 300, 2, 7, seed=14),
        "unheard_synthetic_voice": timed_strings(Corpus.of_voice(banks, HELD_OUT_VOICE), 300, 2, 7, seed=15),
    }


@torch.inference_mode()
def _off_ms(model: Any, processor: Any, clip: TimedUtterance) -> NDArray[np.float64]:
    text = " ".join(WORDS[clip.language][digit] for digit in clip.digits)
    inputs, words = processor.prepare_forced_aligner_inputs(clip.pcm, text, clip.language)
    logits = model(**inputs).logits
    (told,) = processor.decode_forced_alignment(logits, inputs["input_ids"], words, model.config.timestamp_token_id)
    times = np.array([[one["start_time"], one["end_time"]] for one in told])
    return np.abs(1_000 * (times - clip.spans)).ravel()
