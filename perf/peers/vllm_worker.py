"""vLLM's CPU build: continuous batching of 16, nothing remembered from one round to the next."""

from __future__ import annotations

import os
from typing import Any

os.environ |= {
    "VLLM_CPU_KVCACHE_SPACE": "1",
    # Both cores, as everybody else has.
    "VLLM_CPU_OMP_THREADS_BIND": "auto",
    "VLLM_NO_USAGE_STATS": "1",
}

from rounds import job, serve
from vllm import LLM, SamplingParams

PROMPT = (
    "<|im_start|>system\n<|im_end|>\n<|im_start|>user\n<|audio_start|><|audio_pad|><|audio_end|><|im_end|>\n"
    "<|im_start|>assistant\n"
)


def main() -> None:
    asked = job()
    model = LLM(
        asked["checkpoint"],
        dtype="float32",
        max_model_len=2_048,
        max_num_seqs=16,
        # Compiling takes a minute more, and was not faster with the tiny checkpoint; larger ones were not tried.
        enforce_eager=True,
        enable_prefix_caching=False,
        mm_processor_cache_gb=0,
    )
    tokens = asked["tokens"]
    sampling = SamplingParams(temperature=0, max_tokens=tokens or 256, ignore_eos=tokens is not None)

    def transcribe(clips: list[Any]) -> list[str]:
        prompts = [{"prompt": PROMPT, "multi_modal_data": {"audio": (clip, 16_000)}} for clip in clips]
        answers = model.generate(prompts, sampling, use_tqdm=False)
        return [one.outputs[0].text.split("<asr_text>")[-1] for one in answers]

    serve(transcribe, asked["clips"])


if __name__ == "__main__":
    main()
