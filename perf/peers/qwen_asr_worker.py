"""The official SDK, PyPI's qwen-asr, with its transformers backend: static batches of 8."""

from __future__ import annotations

import torch
from qwen_asr import Qwen3ASRModel
from rounds import job, serve


def main() -> None:
    asked = job()
    model = Qwen3ASRModel.from_pretrained(
        asked["checkpoint"],
        dtype=torch.float32,
        device_map="cpu",
        max_inference_batch_size=8,
        max_new_tokens=asked["tokens"] or 256,
    )
    audio = [(clip, 16_000) for clip in asked["clips"]]
    serve(lambda: [one.text for one in model.transcribe(audio=audio, language="English")])


main()
