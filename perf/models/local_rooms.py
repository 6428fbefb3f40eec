"""The rooms of a live session in this process: the same code as behind Triton, without Triton."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from export.local import Collector, LocalAsr
from export.rooms import MODEL_REPOSITORY, room

stream_rooms = room("asr_stream", "rooms")
silero_room = room("vad", "silero")
sequence_room, sampling, biasing = (
    room("decoder", name) for name in ("engine.sequence", "engine.sampling", "engine.biasing")
)
inputs, prompt_room = room("decoder", "serving.inputs"), room("decoder", "text.prompt")
audio_room = room("decoder", "network.embeddings")

Floats = NDArray[np.float32]


class LocalRooms:
    """Answers a session from a checkpoint that is loaded here; float32 on CPU."""

    def __init__(self, asr: LocalAsr) -> None:
        self._asr = asr
        self.detector = silero_room.Silero(MODEL_REPOSITORY / "vad" / "1" / "silero_vad.onnx")
        self.blocks_encoded = 0

    @classmethod
    def of(cls, folder: Path) -> LocalRooms:
        return cls(LocalAsr(folder))

    def close(self) -> None:
        self._asr.close()

    async def step(self, question: Any, *, fast: bool) -> Any:
        asr = self._asr
        embeddings = self._encoded(question)
        audio = audio_room.checked_audio(embeddings, question.frames, embeddings.shape[2])
        named = {"session": question.session, "cached_blocks": question.cached_blocks}
        session = inputs.checked_session({**named, "keep_blocks": question.keep_blocks}, audio.frames)
        language = prompt_room.language_name(question.language) if question.language else None
        before, after = asr.prompts.build(question.context, language)
        cached = session.cached_rows if session else 0
        collector = Collector()
        params = sampling.SamplingParams(max_new_tokens=audio.num_rows + cached + 64)
        prompt = sequence_room.Prompt(before, torch.from_numpy(audio.rows), after, cached)
        words = asr.hotwords.build(question.hotwords, forced=language is not None)
        biased = None if words is None else biasing.Biasing(words)
        one = sequence_room.Sequence("", prompt, params, 1, collector, question.draft, session, biasing=biased)
        asr.engine.submit(one)
        if not await asyncio.to_thread(collector.done.wait, 600) or collector.error is not None:
            raise stream_rooms.RoomFailed(collector.error or "no answer in time")
        transcript = prompt_room.Transcript(asr.tokenizer, language)
        transcript.add(collector.token_ids)
        transcript.finish()
        evicted = one.finish_reason == "evicted"
        return stream_rooms.Heard(transcript.text, transcript.language, collector.token_ids, evicted)

    def _encoded(self, question: Any) -> Floats:
        self.blocks_encoded += len(question.mel)
        clip_max = np.full((len(question.mel), 1), question.clip_max, dtype=np.float32)
        with torch.inference_mode():
            out = self._asr.encoder(*(torch.from_numpy(part) for part in (question.mel, question.frames, clip_max)))
        embeddings: Floats = out.numpy()
        return embeddings

    async def check(self, language: str, context: str, hotwords: str = "") -> None:
        try:
            self._asr.hotwords.build(hotwords, forced=bool(language))
            self._asr.prompts.build(context, prompt_room.language_name(language) if language else None)
        except ValueError as error:
            raise stream_rooms.RoomFailed(str(error), invalid=True) from error

    def end_session(self, name: str, *, fast: bool) -> None:
        self._asr.engine.end_session(name)
