"""What live transcription takes and gives; a request has as many answers as there is to say.

Request parameters, on the first request or on any later one: language, context, hotwords, vad (on, off), threshold,
prefix_padding_ms, min_speech_ms, silence_ms, max_utterance_s, partial_interval_ms, agreement, debug (settings.py); and
command: flush (finish the utterance now) or reset (drop it). hold=false: the request ends when its audio is heard, not
when the next one begins, for clients that wait for the end of one before they send another. On the first request alone:
unheard_samples and told_samples, where a session goes on from another one; canary: it is a watcher's, and not counted.
"""

from .declaration import Tensor

INPUTS = (
    # The next samples of the sequence, 16 kHz mono, as many as there are: float32 in [-1, 1], or int16. A request may
    # have none, where it is a command or the end.
    Tensor("PCM", "TYPE_FP32", (-1,), optional=True),
    Tensor("PCM16", "TYPE_INT16", (-1,), optional=True),
)
OUTPUTS = (
    # One json object: see events.schema.json.
    Tensor("EVENT", "TYPE_STRING", (1,)),
)
