"""What a Realtime client may set, and how the session that results reads."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Any

from frontend.audio.live_audio import RATES_HZ, TARGET_HZ


class RealtimeMistake(ValueError):
    """A client's event that cannot be obeyed; `param` is the field at fault, `code` OpenAI's short name."""

    def __init__(self, message: str, *, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.param = param
        self.code = code


@dataclass(frozen=True)
class RealtimeSession:
    """Settings of a transcription session. turns: by `server_vad`, or by the client where it is None."""

    session_id: str
    model: str
    kind: str = "audio/pcm"
    rate_hz: int = 24_000
    language: str = ""
    prompt: str = ""
    server_vad: bool = True
    threshold: float = 0.5
    prefix_padding_ms: int = 300
    silence_duration_ms: int = 500
    logprobs: bool = False

    def updated(self, session: Any, names: list[str]) -> RealtimeSession:
        """With what `session.update` asks for; names: of the models that are served. Raises RealtimeMistake."""
        session = _object(session, "session")
        if session.get("type", "transcription") != "transcription":
            raise RealtimeMistake("only sessions of type transcription are served", param="session.type")
        changed = self
        source = _object(_object(session.get("audio", {}), "session.audio").get("input", {}), "session.audio.input")
        if source.get("format") is not None:
            changed = changed._with_format(source["format"])
        if source.get("transcription") is not None:
            changed = changed._with_transcription(source["transcription"], names)
        if "turn_detection" in source:
            changed = changed._with_turns(source["turn_detection"])
        include = session.get("include") or []
        if not isinstance(include, list) or set(map(str, include)) - {"item.input_audio_transcription.logprobs"}:
            raise RealtimeMistake("include knows item.input_audio_transcription.logprobs", param="session.include")
        return changed

    def as_settings(self) -> dict[str, str | int | float | bool]:
        """Parameters for `asr_stream`."""
        return {
            "language": self.language,
            "context": self.prompt,
            "vad": "on" if self.server_vad else "off",
            "threshold": self.threshold,
            "prefix_padding_ms": self.prefix_padding_ms,
            "silence_ms": self.silence_duration_ms,
        }

    def as_json(self) -> dict[str, Any]:
        """The session as its events show it."""
        turns = {
            "type": "server_vad",
            "threshold": self.threshold,
            "prefix_padding_ms": self.prefix_padding_ms,
            "silence_duration_ms": self.silence_duration_ms,
        }
        sound = {"type": self.kind, "rate": self.rate_hz} if self.kind == "audio/pcm" else {"type": self.kind}
        transcription = {"model": self.model, "language": self.language or None, "prompt": self.prompt}
        return {
            "id": self.session_id,
            "object": "realtime.transcription_session",
            "type": "transcription",
            "expires_at": int(time.time()) + 24 * 3600,
            "audio": {
                "input": {
                    "format": sound,
                    "transcription": transcription,
                    "noise_reduction": None,
                    "turn_detection": turns if self.server_vad else None,
                }
            },
            "include": None,
        }

    def _with_format(self, sound: Any) -> RealtimeSession:
        param = "session.audio.input.format"
        kind = _object(sound, param).get("type")
        if kind not in RATES_HZ:
            raise RealtimeMistake(f"format must be one of {', '.join(RATES_HZ)}", param=f"{param}.type")
        rate_hz = sound.get("rate") or RATES_HZ[kind]
        if rate_hz not in ((24_000, TARGET_HZ) if kind == "audio/pcm" else (8_000,)):
            raise RealtimeMistake(f"{kind} at {rate_hz} Hz is not served", param=f"{param}.rate")
        return replace(self, kind=kind, rate_hz=rate_hz)

    def _with_transcription(self, wanted: Any, names: list[str]) -> RealtimeSession:
        param = "session.audio.input.transcription"
        wanted = _object(wanted, param)
        model = wanted.get("model", self.model)
        if model not in names:
            message = f"the model {model!r} does not exist; served are {', '.join(names)}"
            raise RealtimeMistake(message, param=f"{param}.model", code="model_not_found")
        languages = wanted.get("languages") or []
        language = wanted.get("language", self.language) or (languages[0] if len(languages) == 1 else "")
        prompt = wanted.get("prompt", self.prompt) or ""
        keywords = wanted.get("keywords") or []
        if not isinstance(language, str) or not isinstance(prompt, str) or not isinstance(keywords, list):
            raise RealtimeMistake("language and prompt are texts, keywords a list", param=param)
        words = ", ".join(str(word) for word in keywords)
        return replace(self, model=model, language=language, prompt="\n".join(part for part in (prompt, words) if part))

    def _with_turns(self, turns: Any) -> RealtimeSession:
        param = "session.audio.input.turn_detection"
        if turns is None:
            return replace(self, server_vad=False)
        turns = _object(turns, param)
        if turns.get("type", "server_vad") != "server_vad":
            raise RealtimeMistake("turn_detection must be server_vad or null", param=f"{param}.type")
        changed = replace(self, server_vad=True)
        for name, low, high in (
            ("threshold", 0.05, 0.95),
            ("prefix_padding_ms", 0, 2_000),
            ("silence_duration_ms", 64, 10_000),
        ):
            value = turns.get(name)
            if value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
                raise RealtimeMistake(f"{name} must lie between {low} and {high}", param=f"{param}.{name}")
            number: Any = float(value) if name == "threshold" else int(value)
            changed = replace(changed, **{name: number})
        return changed


def _object(value: Any, param: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise RealtimeMistake(f"{param} must be an object", param=param)
    return value
