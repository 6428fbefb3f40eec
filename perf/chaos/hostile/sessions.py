"""WebSocket sessions, plain and OpenAI's: odd bytes, garbage, reserved names, commands out of order."""

from __future__ import annotations

import base64
import json
from urllib.parse import quote

from perf.chaos.hostile import values
from perf.chaos.hostile.attack import Attack, Rng, Session
from perf.chaos.hostile.containers import whole

SETTINGS = (
    "language",
    "context",
    "vad",
    "threshold",
    "prefix_padding_ms",
    "min_speech_ms",
    "silence_ms",
    "max_utterance_s",
    "partial_interval_ms",
    "agreement",
    "debug",
    "hold",
    "command",
    "action",
)
END = '{"action": "end"}'
EVENTS = (
    "session.update",
    "input_audio_buffer.append",
    "input_audio_buffer.commit",
    "input_audio_buffer.clear",
    "transcription_session.update",
    "response.create",
    "response.cancel",
    "conversation.item.create",
    "conversation.item.delete",
    "output_audio_buffer.clear",
    "",
    "x",
)


def plain(rng: Rng) -> Attack:
    """A session of /ws/transcribe."""
    path = "/ws/transcribe"
    if rng.random() < 0.3:
        name = rng.choice((*SETTINGS, *values.RESERVED))
        path += f"?{quote(name)}={quote(values.utf8(rng)[:3_000])}"
    return Session(path, tuple(_message(rng) for _ in range(rng.choice((0, 1, 3, 12)))))


def realtime(rng: Rng) -> Attack:
    """A session of /v1/realtime."""
    path = "/v1/realtime" + rng.choice(
        ("", "?intent=transcription", "?model=x", "?model=" + quote(values.utf8(rng)[:2_000]), "?intent=%00")
    )
    return Session(path, tuple(_event(rng) for _ in range(rng.choice((0, 1, 3, 12)))))


def _message(rng: Rng) -> str | bytes:
    how = rng.randrange(12)
    if how < 3:
        # Odd numbers of bytes, none, and more than a session may lie behind.
        return rng.randbytes(rng.choice((0, 1, 3, 3_199, 3_201, 40_001)))
    if how == 3:
        return bytes(rng.choice((320_000, 1_000_001))) if rng.random() < 0.2 else b"\xff\x7f" * 1_600
    if how == 4:
        return whole("english")
    if how == 5:
        return END
    if how == 6:
        return json.dumps({"action": rng.choice(("flush", "reset", "flush", "config", "END", "", "cancel"))})
    if how == 7:
        return values.json_text(values.json_value(rng))
    if how == 8:
        return values.broken_json(rng)
    if how == 9:
        return values.text(rng).encode("utf-8", "ignore").decode()
    name = rng.choice((*SETTINGS, *SETTINGS, *values.RESERVED))
    value: object = rng.choice(
        (values.json_value(rng), rng.choice(values.FLOATS), rng.choice(values.WHOLE), rng.choice(values.NUMBERS))
    )
    return values.json_text({"action": "config", name: value})


def _event(rng: Rng) -> str | bytes:
    how = rng.randrange(10)
    if how == 0:
        return values.broken_json(rng)
    if how == 1:
        return values.json_text(values.json_value(rng))
    if how == 2:
        return rng.randbytes(100)
    if how in (3, 4):
        pcm = rng.randbytes(rng.choice((0, 1, 2, 4_801, 48_000)))
        audio: object = rng.choice(
            (base64.b64encode(pcm).decode(), base64.b64encode(pcm).decode()[:-1], "!!!", "AAAA" * 200_000, "é", None, 5)
        )
        return values.json_text({"type": "input_audio_buffer.append", "audio": audio})
    if how in (5, 6):
        return values.json_text({"type": "session.update", "session": _session(rng)})
    event: dict[str, object] = {"type": rng.choice(EVENTS)}
    if rng.random() < 0.4:
        event["event_id"] = values.json_value(rng)
    if rng.random() < 0.3:
        event[rng.choice(("audio", "session", "item", "type", "item_id"))] = values.json_value(rng)
    return values.json_text(event)


def _session(rng: Rng) -> object:
    """A session's settings, one of them wrong."""
    wrong = values.json_value(rng, 1)
    sound = {
        "format": rng.choice(
            ({"type": "audio/pcm", "rate": 24_000}, {"type": "audio/pcmu"}, {"type": "audio/pcm", "rate": wrong}, wrong)
        ),
        "transcription": rng.choice(
            ({"model": "whisper-1"}, {"model": wrong}, {"language": wrong}, {"prompt": wrong}, wrong)
        ),
        "turn_detection": rng.choice(
            (
                None,
                {"type": "server_vad", "threshold": wrong},
                {"type": "semantic_vad"},
                {"type": "server_vad", "silence_duration_ms": wrong},
                wrong,
            )
        ),
        "noise_reduction": wrong,
    }
    kept = {name: value for name, value in sound.items() if rng.random() < 0.4}
    return rng.choice(
        (
            wrong,
            {"type": "transcription", "audio": {"input": kept}},
            {"type": "realtime"},
            {"type": "transcription", "audio": wrong},
        )
    )
