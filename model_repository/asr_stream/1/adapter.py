"""Triton adapter of live transcription: requests of sequences go to their sessions, events become responses."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils
from numpy.typing import NDArray

from .declaration import instances
from .metrics import Metrics
from .parameters import Parameters
from .runner import Asked, Refused, Runner
from .settings import SAMPLE_RATE_HZ, checked_canary, checked_command, checked_hold, checked_overlap
from .silero import Silero

MAX_CHUNK_S = 60
# In the model repository.
ALIGNER_WEIGHTS = Path("aligner/1/checkpoint/model.safetensors")
SPEAKER_ENCODER = Path("speakers/1/checkpoint/speakers.onnx")
URL_VARIABLE = "ASR_STREAM_TRITON_URL"


class Adapter:
    def __init__(self, parameters: Parameters, folder: Path, args: dict[str, str]) -> None:
        """folder: this version's, where the detector of speech is. args: of the instance, as Triton gives them."""
        self._min_interval_ms = parameters.min_partial_interval_ms
        # The embedded server's port is known only when it starts.
        url = os.environ.get(URL_VARIABLE) or parameters.triton_url
        # Triton gives a new sequence to the instance that holds the fewest: the shares together are the model's bound.
        most = -(-parameters.max_sessions // instances(args["model_config"]))
        metrics = Metrics(pb_utils, args["model_name"], args["model_instance_name"])
        # Where it is exported, the server loads it (frontend/triton/profiles.py).
        can_align = bool(parameters.aligner) and (folder.parents[1] / ALIGNER_WEIGHTS).is_file()
        has_voices = bool(parameters.speakers) and (folder.parents[1] / SPEAKER_ENCODER).is_file()
        detector = Silero(folder / "silero_vad.onnx")
        self.runner = Runner(
            url, parameters, detector, most, metrics.publish, can_align=can_align, has_voices=has_voices
        )
        self.runner.start()

    def execute(self, requests: list[Any]) -> None:
        for request in requests:
            sink = TritonResponder(request.get_response_sender())
            try:
                self._accept(request, sink)
            except ValueError as error:
                sink.refuse(Refused(str(error)))
            except Exception as error:
                pb_utils.Logger.log_error(f"asr_stream failed: {error!r}")
                sink.refuse(Refused(f"asr_stream failed: {error}", invalid=False))

    def finalize(self) -> None:
        self.runner.stop()

    def _accept(self, request: Any, sink: TritonResponder) -> None:
        parameters = json.loads(request.parameters() or "{}")
        start = bool(_control(request, "START"))
        asked = Asked(
            int(_control(request, "CORRID")),
            start,
            bool(_control(request, "END")),
            _pcm(request),
            settings=lambda settings: settings.changed(parameters, self._min_interval_ms),
            command=checked_command(parameters),
            hold=checked_hold(parameters),
            canary=checked_canary(parameters),
            overlap=checked_overlap(parameters, start=start),
            responder=sink,
            refuse=sink.refuse,
        )
        self.runner.accept(asked)


class TritonResponder:
    """A request's response sender. Every request ends here, once."""

    def __init__(self, sender: Any) -> None:
        self._sender = sender
        # One call at a time and none after the last response: Triton frees the sender with it, and the server crashes
        # when it is asked meanwhile or later whether the request is cancelled.
        self._lock = threading.Lock()
        self._closed = False

    def send(self, event: str) -> None:
        self._respond(_response(event), final=False)

    def close(self, event: str | None = None) -> None:
        self._respond(None if event is None else _response(event), final=True)

    def refuse(self, refused: Refused) -> None:
        # A stream's answer carries the message alone, so the code stands in it as well.
        message, code = str(refused), pb_utils.TritonError.UNAVAILABLE
        if refused.invalid:
            message, code = f"INVALID_ARGUMENT: {message}", pb_utils.TritonError.INVALID_ARG
        self._respond(pb_utils.InferenceResponse(error=pb_utils.TritonError(message, code)), final=True)

    def is_cancelled(self) -> bool:
        with self._lock:
            return not self._closed and bool(self._sender.is_cancelled())

    def _respond(self, response: Any, *, final: bool) -> None:
        flags = pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL if final else 0
        with self._lock:
            if self._closed:
                return
            self._closed = final
            try:
                if response is None:
                    self._sender.send(flags=flags)
                else:
                    self._sender.send(response, flags=flags)
            except Exception as error:
                # The client has left; its session is ended when that is seen.
                pb_utils.Logger.log_warn(f"asr_stream could not answer: {error}")


def _response(event: str) -> Any:
    return pb_utils.InferenceResponse([pb_utils.Tensor("EVENT", np.array([event.encode()], dtype=np.object_))])


def _control(request: Any, name: str) -> Any:
    return pb_utils.get_input_tensor_by_name(request, name).as_numpy().ravel()[0]


def _pcm(request: Any) -> NDArray[np.float32] | None:
    """The request's samples, or None without any; ValueError where they are too many, not finite, or of both kinds."""
    floats, shorts = (pb_utils.get_input_tensor_by_name(request, name) for name in ("PCM", "PCM16"))
    if floats is not None and shorts is not None:
        raise ValueError("PCM and PCM16 were both sent: one of them is enough")
    if floats is None and shorts is None:
        return None
    if floats is not None:
        pcm = floats.as_numpy().ravel().astype(np.float32)
        if not np.isfinite(pcm).all():
            raise ValueError("PCM holds NaN or infinity")
    else:
        pcm = shorts.as_numpy().ravel().astype(np.float32) / 32_768
    if pcm.size > MAX_CHUNK_S * SAMPLE_RATE_HZ:
        raise ValueError(f"a chunk has {pcm.size} samples; {MAX_CHUNK_S * SAMPLE_RATE_HZ} are the most")
    return pcm if pcm.size else None
