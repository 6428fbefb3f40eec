"""The rooms' own code without Triton: clips to tokens in this process, for evaluation, verification and tests."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from export.checkpoint import Checkpoint
from export.rooms import room


@dataclass(frozen=True)
class Transcription:
    """What the model answered: all tokens (the language header among them), and what they say."""

    token_ids: list[int]
    language: str | None
    text: str


class Collector:
    """A listener that remembers tokens and waits for the end."""

    def __init__(self) -> None:
        self.token_ids: list[int] = []
        self.logprobs: list[float] = []
        self.error: str | None = None
        self.done = threading.Event()

    def on_tokens(self, ids: list[int], logprobs: list[float]) -> None:
        self.token_ids += ids
        self.logprobs += logprobs

    def on_finish(self, sequence: Any) -> None:
        self.done.set()

    def on_error(self, message: str) -> None:
        self.error = message
        self.done.set()

    def is_cancelled(self) -> bool:
        return False


class LocalAsr:
    """A checkpoint folder ready to transcribe, everything through the decoder's engine; the encoder in float32."""

    def __init__(
        self,
        folder: Path,
        max_running: int = 32,
        kv_cache_tokens: int = 32_768,
        quantization: str = "none",
        device_name: str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        """quantization, device_name, dtype: of the decoder; the encoder is on the CPU."""
        decoder = {
            name.split(".")[1]: room("decoder", name)
            for name in (
                "engine.engine",
                "engine.sampling",
                "engine.scheduler",
                "engine.sequence",
                "network.kv_cache",
                "network.quantization",
                "network.qwen3",
                "serving.hotwords",
                "text.prompt",
                "text.token_bytes",
            )
        }
        self._decoder = decoder
        self._blocks = room("features", "blocks")
        self._num_tokens = room("decoder", "network.embeddings").num_tokens
        self.encoder = Checkpoint(folder).block_encoder()
        checkpoint = room("decoder", "network.loader").read_checkpoint(folder)
        config = checkpoint.config
        device = torch.device(device_name)
        quantize = decoder["quantization"].quantizer(quantization, device)
        cache = decoder["kv_cache"].KVCache(
            config.num_hidden_layers, kv_cache_tokens, config.num_key_value_heads, config.head_dim, device, dtype
        )
        self.tokenizer = checkpoint.tokenizer
        token_bytes = decoder["token_bytes"].TokenBytes(checkpoint.tokenizer)
        self.hotwords = decoder["hotwords"].HotwordTries(
            checkpoint.tokenizer, token_bytes, room("decoder", "parameters").Parameters().hotword_nats
        )
        self.prompts = decoder["prompt"].PromptBuilder(checkpoint.tokenizer, checkpoint.template, 1024)
        self.engine = decoder["engine"].Engine(
            decoder["qwen3"].Qwen3(config, checkpoint.weights, device, dtype, quantize),
            cache,
            decoder["scheduler"].SchedulerLimits(max_running=max_running),
            checkpoint.end_ids,
        )
        self.engine.start()

    def close(self) -> None:
        self.engine.stop()

    def __enter__(self) -> LocalAsr:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @torch.inference_mode()
    def embeddings(self, pcm: NDArray[np.float32]) -> torch.Tensor:
        """Valid embeddings of a clip, every sample taken as speech: float32 [rows, D]."""
        blocks = self._blocks.blocks_of(pcm, max_blocks=64)
        out = self.encoder(*(torch.from_numpy(part) for part in (blocks.mel, blocks.frames, blocks.clip_max)))
        counts = [self._num_tokens(int(count)) for count in blocks.frames[:, 0]]
        return torch.cat([block[:count] for block, count in zip(out, counts, strict=True)])

    def transcribe(
        self,
        clips: list[NDArray[np.float32]],
        language: str | None = None,
        timeout_s: float = 600.0,
        max_new_tokens: int | None = None,
    ) -> list[Transcription]:
        """Transcribe clips together, greedily. Raises RuntimeError where one fails or takes too long."""
        return self.answers([self.embeddings(pcm) for pcm in clips], language, timeout_s, max_new_tokens)

    def answers(
        self,
        audios: list[torch.Tensor],
        language: str | None = None,
        timeout_s: float = 600.0,
        max_new_tokens: int | None = None,
    ) -> list[Transcription]:
        """The same from embeddings, float32 [rows, D] each."""
        before, after = self.prompts.build("", language)
        collectors = []
        for audio in audios:
            collector = Collector()
            params = self._decoder["sampling"].SamplingParams(max_new_tokens=max_new_tokens or audio.shape[0] + 64)
            prompt = self._decoder["sequence"].Prompt(before, audio, after)
            self.engine.submit(self._decoder["sequence"].Sequence("", prompt, params, 2, collector))
            collectors.append(collector)
        return [self._result(collector, language, timeout_s) for collector in collectors]

    def _result(self, collector: Collector, language: str | None, timeout_s: float) -> Transcription:
        if not collector.done.wait(timeout_s) or collector.error is not None:
            raise RuntimeError(collector.error or "the engine did not answer in time")
        transcript = self._decoder["prompt"].Transcript(self.tokenizer, language)
        transcript.add(collector.token_ids)
        transcript.finish()
        return Transcription(collector.token_ids, transcript.language, transcript.text)
