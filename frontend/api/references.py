"""The speech by which known speakers are told: decoded, and looked at before anything is heard."""

from __future__ import annotations

import io

import numpy as np

from frontend.api.transcription_request import TranscriptionRequest
from frontend.audio.attempts import asked
from frontend.audio.decode_pool import DecodePool, DecodersBusy, DecodeTimeout
from frontend.audio.decoding import AudioError, decode
from frontend.audio.recordings import NO_TIME
from frontend.audio.segments import SAMPLE_RATE_HZ, VAD_STATE, WINDOW, Floats, SegmentRules
from frontend.errors import ApiError, from_triton
from frontend.triton.backend import Backend
from frontend.triton.client import TritonClient, TritonRefused, TritonUnavailable

# Of somebody's speech by which they are known.
LEAST_REFERENCE_S, MOST_REFERENCE_S, LEAST_SPEECH_S = 2.0, 10.0, 0.5


async def references_of(wanted: TranscriptionRequest, pool: DecodePool) -> list[Floats]:
    """Decoded. Raises ApiError 400 where one is no sound of 2 to 10 s."""
    if wanted.speakers is None:
        return []
    names, param = wanted.speakers.names, "known_speaker_references"
    references = []
    for name, sound in zip(names, wanted.speakers.references, strict=True):
        try:
            pcm = await pool.run(lambda sound=sound: decode(io.BytesIO(sound), 2 * MOST_REFERENCE_S))  # type: ignore[misc]
        except (AudioError, DecodeTimeout) as error:
            raise ApiError(400, f"the reference of {name!r}: {error}", param=param) from error
        except DecodersBusy as error:
            raise busy(error) from error
        seconds = pcm.size / SAMPLE_RATE_HZ
        if not LEAST_REFERENCE_S <= round(seconds, 1) <= MOST_REFERENCE_S:
            message = f"the reference of {name!r} has {seconds:.1f} s; it has to have 2 to 10"
            raise ApiError(400, message, param=param)
        references.append(pcm)
    return references


async def judged(backend: Backend, pcm: Floats, name: str, patience_s: float) -> Floats:
    """What vad says of a reference, asked again where Triton is lost. Raises ApiError 400 where nobody speaks in it."""

    async def ask(client: TritonClient, _: float) -> Floats:
        probabilities: Floats = (await client.vad(pcm, np.zeros(VAD_STATE, dtype=np.float32)))[0]
        return probabilities

    try:
        probabilities = await asked(backend.connected, patience_s, ask, NO_TIME)
    except (TritonRefused, TritonUnavailable) as error:
        raise from_triton(error) from error
    if np.count_nonzero(probabilities > SegmentRules().threshold) * WINDOW < LEAST_SPEECH_S * SAMPLE_RATE_HZ:
        raise ApiError(400, f"the reference of {name!r} has no speech", param="known_speaker_references")
    return probabilities


def busy(error: DecodersBusy) -> ApiError:
    """No thread is free to decode."""
    return ApiError(503, f"{error}: try again soon", code="server_overloaded")
