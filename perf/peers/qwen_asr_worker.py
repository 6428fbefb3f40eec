"""The official SDK, PyPI's qwen-asr, with its transformers backend: static batches of 8."""

from __future__ import annotations

from typing import Any

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

    def transcribe(clips: list[Any]) -> list[str]:
        return [one.text for one in model.transcribe(audio=[(clip, 16_000) for clip in clips], language="English")]

    serve(transcribe, asked["clips"])


main()
