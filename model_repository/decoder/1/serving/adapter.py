"""Triton adapter of the decoder: requests become sequences, answers become responses. Nothing else."""

from __future__ import annotations

import json
import os
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import triton_python_backend_utils as pb_utils

from ..engine.arrivals import EngineStopped
from ..engine.biasing import Biasing
from ..engine.sampling import SamplingParams
from ..engine.sequence import Prompt, Sequence, Timings
from ..engine.sessions import SessionRequest
from ..engine.waiting_room import UNAVAILABLE, RoomFull
from ..network.embeddings import AudioEmbeddings, checked_audio
from ..network.loader import name_of
from ..parameters import Parameters
from ..text.prompt import PromptBuilder, Transcript, language_name
from ..text.token_bytes import TokenBytes
from .answers import Answer, Delta, Outbox, result_json
from .budget import LONGEST_ANSWER
from .build import build
from .hotwords import HotwordTries
from .inputs import (
    checked_draft,
    checked_name,
    checked_number,
    checked_priority,
    checked_session,
    checked_text,
    checked_truth,
    checked_whole,
)
from .metrics import Metrics
from .warm_up import warm_up

# How long the last answers may take to be read.
LAST_ANSWERS_S = 0.5


class Adapter:
    def __init__(self, parameters: Parameters, folder: Path, name: str) -> None:
        """folder: this version's, where relative paths begin. name: the model's, for metrics and the log."""
        built = build(parameters, folder)
        checkpoint = built.checkpoint
        self.config = checkpoint.config
        self.draft_width = built.draft_width
        self.max_new_tokens = parameters.max_new_tokens
        # A step that meets a shape for the first time is compiled, which says nothing of others.
        self.tells_progress = not parameters.torch_compile
        self.checkpoint_name = name_of(folder / parameters.checkpoint)
        self.tokenizer = checkpoint.tokenizer
        self.token_bytes = TokenBytes(checkpoint.tokenizer)
        self.hotwords = HotwordTries(
            checkpoint.tokenizer, self.token_bytes, parameters.hotword_nats, served=parameters.engine == "ours"
        )
        self.prompts = PromptBuilder(checkpoint.tokenizer, checkpoint.template, parameters.max_context_tokens)
        # What renders the template is imported for the first prompt.
        self.prompts.build("", None)
        self.engine = built.engine
        self.outbox = Outbox(parameters.stream_interval_ms / 1000)
        self.metrics = Metrics(pb_utils, self.engine, name)
        self.engine.on_broken = self._end_process
        self.outbox.start()
        self.metrics.start()
        self.engine.start()
        warm_up_s = warm_up(self.engine, built.table, parameters.warm_up_seconds)
        pb_utils.Logger.log_info(f"{name}: {built.summary}; warmed up in {warm_up_s:.2f} s")

    def execute(self, requests: list[Any]) -> None:
        for request in requests:
            sink = TritonSink(request.get_response_sender(), frozenset(request.requested_output_names()))
            try:
                self._submit(request, sink)
            except (ValueError, EngineStopped, RoomFull) as error:
                sink.fail(str(error), invalid=isinstance(error, ValueError))
            except Exception as error:
                pb_utils.Logger.log_error(f"decoder failed: {error!r}")
                sink.fail(f"decoder failed: {error}")

    def finalize(self) -> None:
        self.metrics.stop()
        self.engine.stop()
        self.outbox.stop()

    def _end_process(self) -> None:
        """A context that is broken stays so as long as the process: the next one, which a watcher has loaded, has its
        own."""
        pb_utils.Logger.log_error("the decoder's process ends itself: nothing can be computed in it any more")
        self.outbox.stop()
        # The answers are on their way to the server, which reads them from this process.
        time.sleep(LAST_ANSWERS_S)
        os._exit(1)

    def _submit(self, request: Any, sink: TritonSink) -> None:
        parameters = json.loads(request.parameters() or "{}")
        audio = checked_audio(
            _needed(request, "EMBEDDINGS"),
            _needed(request, "FRAMES"),
            self.config.hidden_size,
        )
        named = _text(request, "LANGUAGE")
        language = language_name(named) if named else None
        before, after = self.prompts.build(_text(request, "CONTEXT"), language)
        priority = checked_priority(parameters)
        session = checked_session(parameters, audio.frames)
        draft = _input(request, "DRAFT_IDS")
        drafted = checked_draft(draft, self.config.vocab_size, self.engine.end_ids)
        params = self._sampling(parameters, audio, session)
        hotwords = self.hotwords.build(checked_text(parameters, "hotwords"), forced=language is not None)
        self._command(parameters)
        if audio.num_rows == 0 and (session is None or session.cached_rows == 0):
            sink.send(_empty(audio, self._engine_told()))
            return
        draft_audio = None if session is not None else self._draft_audio(request, audio)
        transcript = Transcript(self.tokenizer, language)
        deltas = parameters.get("deltas", True)
        if not isinstance(deltas, bool):
            raise ValueError(f"deltas must be true or false, not {deltas!r}")
        answer = Answer(sink, transcript, self.token_bytes, audio.usage(), self.outbox.post, deltas=deltas)
        # On the host until it is computed: thousands of files may wait.
        prompt = Prompt(before, torch.from_numpy(audio.rows), after, session.cached_rows if session else 0)
        self.outbox.watch(answer)
        self.engine.submit(
            Sequence(
                request.request_id(),
                prompt,
                params,
                priority,
                answer,
                drafted,
                session,
                draft_audio,
                biasing=None if hotwords is None else Biasing(hotwords),
            )
        )

    def _engine_told(self) -> dict[str, Any]:
        """What it serves, how busy it is, and how it gets on."""
        progress = vars(self.engine.progress())
        told = progress if self.tells_progress else {"files": progress["files"]}
        return {**told, "checkpoint": self.checkpoint_name}

    def _draft_audio(self, request: Any, audio: AudioEmbeddings) -> torch.Tensor | None:
        """The audio as the draft network hears it: by its own encoder, or by this one where their widths are equal."""
        own = _input(request, "DRAFT_EMBEDDINGS")
        if not self.draft_width or (own is None and self.draft_width != self.config.hidden_size):
            return None
        if own is None:
            return torch.from_numpy(audio.rows)
        checked = checked_audio(own, np.array(audio.frames, dtype=np.int32)[:, None], self.draft_width)
        return torch.from_numpy(checked.rows)

    def _command(self, parameters: dict[str, Any]) -> None:
        """What a request may ask for besides its answer: the end of a session, the end of another request."""
        cancelled, ended = checked_name(parameters, "cancel"), checked_name(parameters, "end_session")
        if cancelled:
            self.engine.cancel(cancelled)
        if ended:
            self.engine.end_session(ended)

    def _sampling(
        self, parameters: dict[str, Any], audio: AudioEmbeddings, session: SessionRequest | None
    ) -> SamplingParams:
        # Speech has far fewer tokens than embeddings; a longer answer would be a loop.
        longest = self.max_new_tokens or audio.num_rows + (session.cached_rows if session else 0) + 64
        wanted = checked_whole(parameters, "max_new_tokens", longest)
        if wanted > (most := max(longest, LONGEST_ANSWER)):
            # Without the guard and an end of its own an answer would go on until the cache is full.
            raise ValueError(f"max_new_tokens must be at most {most}")
        return SamplingParams(
            max_new_tokens=wanted,
            temperature=checked_number(parameters, "temperature", 0.0),
            seed=checked_whole(parameters, "seed", 0),
            min_new_tokens=checked_whole(parameters, "min_new_tokens", 0),
            repetition_guard=checked_truth(parameters, "repetition_guard", True),
        )


class TritonSink:
    """A request's response sender. Every request ends here, once."""

    def __init__(self, sender: Any, wanted: frozenset[str]) -> None:
        """wanted: outputs that the client asked for; where it named none, Triton names all. The others are not made:
        each is a copy into shared memory, in the process that runs the steps."""
        self._sender = sender
        self._wanted = wanted
        # One call at a time and none after the last response: Triton frees the sender with it, and the server crashes
        # when it is asked meanwhile or later whether the request is cancelled.
        self._lock = threading.Lock()
        self.closed = False

    def send(self, delta: Delta) -> None:
        values = {
            "TEXT": lambda: np.array([delta.text.encode()], dtype=np.object_),
            "TOKEN_IDS": lambda: np.array(delta.token_ids, dtype=np.int32),
            "TOKENS": lambda: np.array(delta.tokens, dtype=np.object_),
            "LOGPROBS": lambda: np.array(delta.logprobs, dtype=np.float32),
            "FINAL": lambda: np.array([delta.final]),
            "RESULT": lambda: np.array([delta.result.encode()], dtype=np.object_),
        }
        outputs = [pb_utils.Tensor(name, value()) for name, value in values.items() if name in self._wanted]
        self._respond(pb_utils.InferenceResponse(outputs), final=delta.final)

    def fail(self, message: str, *, invalid: bool = False) -> None:
        code = pb_utils.TritonError.INTERNAL
        if invalid:
            # A stream's answer carries the message alone, so the code stands in it as well.
            message, code = f"INVALID_ARGUMENT: {message}", pb_utils.TritonError.INVALID_ARG
        elif message.startswith(UNAVAILABLE):
            code = pb_utils.TritonError.UNAVAILABLE
        self._respond(pb_utils.InferenceResponse(error=pb_utils.TritonError(message, code)), final=True)

    def is_cancelled(self) -> bool:
        with self._lock:
            return not self.closed and bool(self._sender.is_cancelled())

    def _respond(self, response: Any, *, final: bool) -> None:
        with self._lock:
            if self.closed:
                return
            self.closed = final
            self._sender.send(response, flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL if final else 0)


def _input(request: Any, name: str) -> Any:
    """An optional input as an array, or None."""
    tensor = pb_utils.get_input_tensor_by_name(request, name)
    return None if tensor is None else tensor.as_numpy()


def _needed(request: Any, name: str) -> Any:
    """An input as an array. With optional inputs beside it Triton counts them only, so that it may be missing."""
    value = _input(request, name)
    if value is None:
        raise ValueError(f"{name} is missing")
    return value


def _text(request: Any, name: str) -> str:
    """A string input of one element, "" where it was left out."""
    value = _input(request, name)
    if value is None:
        return ""
    try:
        return value.ravel()[0].decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{name} is not UTF-8: {error}") from error


def _empty(audio: AudioEmbeddings, engine: dict[str, Any]) -> Delta:
    """The answer where nothing is said. engine: how the others' answers get on."""
    timings = Timings()
    timings.finished = timings.arrived
    result = result_json("", None, "stop", 0, 0, audio.usage(), timings.as_ms(), engine=engine)
    return Delta("", [], [], [], final=True, result=result)
