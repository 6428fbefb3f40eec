"""What a Realtime client may set, and how the session that results reads."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from frontend.api.languages import LANGUAGES, is_language
from frontend.api.live_settings import BESIDE_FINALS
from frontend.api.models import is_served, knows_turn_detection, not_served
from frontend.api.realtime_events import RealtimeMistake, is_text
from frontend.audio.live_audio import RATES_HZ, TARGET_HZ
from frontend.wording.hotwords import Hotword, HotwordLists, WrongHotwords, all_hotwords, as_parameter, read_hotwords
from frontend.wording.wanted import SETTINGS

INCLUDE = "item.input_audio_transcription.logprobs"
INPUT = "session.audio.input"
TRANSCRIPTION = f"{INPUT}.transcription"
# Hypotheses in a row that have to agree on a word before a delta tells it, by how long the client would wait.
AGREEMENT = {"minimal": 1, "low": 2, "medium": 3, "high": 4, "xhigh": 6}
NOISE = ("near_field", "far_field")
# Characters of prompt and keywords together, as `asr_stream` has it; languages that may be named.
MAX_CONTEXT = 20_000
MAX_LANGUAGES = 100


@dataclass(frozen=True)
class RealtimeSession:
    """Settings of a transcription session. listed: what the hotword lists hold; wants_vad: the client did not say that
    it commits turns itself."""

    session_id: str
    model: str
    kind: str = "audio/pcm"
    rate_hz: int = 24_000
    language: str = ""
    languages: tuple[str, ...] = ()
    prompt: str = ""
    keywords: tuple[str, ...] = ()
    hotwords: tuple[Hotword, ...] = ()
    hotword_lists: tuple[str, ...] = ()
    listed: tuple[Hotword, ...] = ()
    delay: str | None = None
    word_timestamps: str = "off"
    speakers: str = "off"
    # What becomes of finals' texts: of SETTINGS, those that were named.
    wording: Mapping[str, Any] = field(default_factory=dict)
    wants_vad: bool = True
    threshold: float = 0.5
    prefix_padding_ms: int = 300
    silence_duration_ms: int = 500

    @property
    def server_vad(self) -> bool:
        """Whether turns are ended here; otherwise the client commits them."""
        return self.wants_vad and knows_turn_detection(self.model)

    def updated(self, session: Any, names: list[str]) -> RealtimeSession:
        """With what `session.update` asks for, where what it does not name stays; names: of the models that are served.
        Raises RealtimeMistake."""
        session = _object(session, "session")
        if session.get("type", "transcription") != "transcription":
            raise RealtimeMistake("only sessions of type transcription are served", param="session.type")
        changed = self
        source = _optional(_optional(session.get("audio"), "session.audio").get("input"), INPUT)
        if source.get("format") is not None:
            changed = changed._with_format(source["format"])
        if source.get("transcription") is not None:
            changed = changed._with_transcription(_object(source["transcription"], TRANSCRIPTION), names)
        if "turn_detection" in source:
            changed = changed._with_turns(source["turn_detection"])
        _check_noise_reduction(source.get("noise_reduction"))
        include = session.get("include")
        if include is not None and (not isinstance(include, list) or any(one != INCLUDE for one in include)):
            raise RealtimeMistake(f"include knows {INCLUDE}", param="session.include")
        return changed

    def with_texts_of(self, before: RealtimeSession) -> RealtimeSession:
        """With what the model is told of the sound as it was before, because what it was told now is refused."""
        return replace(
            self,
            language=before.language,
            languages=before.languages,
            prompt=before.prompt,
            keywords=before.keywords,
            hotwords=before.hotwords,
            hotword_lists=before.hotword_lists,
            listed=before.listed,
        )

    def with_lists(self, lists: HotwordLists) -> RealtimeSession:
        """With what its hotword lists hold now. Raises RealtimeMistake."""
        try:
            changed = replace(self, listed=tuple(lists.named(self.hotword_lists)))
            all_hotwords(changed.hotwords, changed.listed, changed.keywords)
        except WrongHotwords as error:
            raise RealtimeMistake(str(error), param=f"{TRANSCRIPTION}.{error.param}") from error
        return changed

    def as_settings(self) -> dict[str, str | int | float | bool]:
        """Parameters for `asr_stream`."""
        single = self.languages[0] if len(self.languages) == 1 else ""
        return {
            "language": self.language or single,
            "context": _context(self.prompt, self.keywords),
            "hotwords": as_parameter(all_hotwords(self.hotwords, self.listed, self.keywords)),
            "vad": "on" if self.server_vad else "off",
            "threshold": self.threshold,
            "prefix_padding_ms": self.prefix_padding_ms,
            "silence_ms": self.silence_duration_ms,
            "agreement": AGREEMENT[self.delay or "low"],
            "word_timestamps": self.word_timestamps,
            "speakers": self.speakers,
        }

    def as_json(self) -> dict[str, Any]:
        """The session as its events show it: what holds, so neither noise reduction nor probabilities."""
        turns = {
            "type": "server_vad",
            "threshold": self.threshold,
            "prefix_padding_ms": self.prefix_padding_ms,
            "silence_duration_ms": self.silence_duration_ms,
        }
        sound = {"type": self.kind, "rate": self.rate_hz} if self.kind == "audio/pcm" else {"type": self.kind}
        transcription: dict[str, Any] = {
            "model": self.model,
            "language": self.language or None,
            "prompt": self.prompt,
        }
        given = {
            "languages": list(self.languages),
            "keywords": list(self.keywords),
            "hotwords": [{"phrase": one.phrase, "weight": one.weight} for one in self.hotwords],
            "hotword_lists": list(self.hotword_lists),
            "delay": self.delay,
        }
        transcription.update({name: value for name, value in given.items() if value})
        for name in ("word_timestamps", "speakers"):
            if getattr(self, name) != "off":
                transcription[name] = getattr(self, name)
        transcription.update(self.wording)
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
        param = f"{INPUT}.format"
        kind = _object(sound, param).get("type", "audio/pcm")
        if not isinstance(kind, str) or kind not in RATES_HZ:
            raise RealtimeMistake(f"format must be one of {', '.join(RATES_HZ)}", param=f"{param}.type")
        served = (RATES_HZ[kind], TARGET_HZ) if kind == "audio/pcm" else (RATES_HZ[kind],)
        rate_hz = sound.get("rate")
        if rate_hz is not None and (_number(rate_hz) is None or rate_hz not in served):
            raise RealtimeMistake(f"{kind} is served at {_listed(served)} Hz", param=f"{param}.rate")
        return replace(self, kind=kind, rate_hz=RATES_HZ[kind] if rate_hz is None else int(rate_hz))

    def _with_transcription(self, wanted: dict[str, Any], names: list[str]) -> RealtimeSession:
        changed = self
        model = wanted.get("model")
        if model is not None:
            if not is_text(model) or not is_served(model, names):
                message = not_served(model, names) if isinstance(model, str) else "model must be a text"
                raise RealtimeMistake(message, param=f"{TRANSCRIPTION}.model", code="model_not_found")
            changed = replace(changed, model=model)
        if "language" in wanted:
            language = _text(wanted["language"], "language").strip()
            _check_language(language, "language")
            changed = replace(changed, language=language, languages=() if language else changed.languages)
        if "languages" in wanted:
            languages = _texts(wanted["languages"], "languages")
            if len(languages) > MAX_LANGUAGES:
                raise RealtimeMistake(f"languages names more than {MAX_LANGUAGES}", param=f"{TRANSCRIPTION}.languages")
            if languages and wanted.get("language"):
                raise RealtimeMistake("language and languages exclude each other", param=f"{TRANSCRIPTION}.languages")
            for one in languages:
                _check_language(one, "languages")
            changed = replace(changed, languages=languages, language="" if languages else changed.language)
        for name in ("prompt", "keywords"):
            if name in wanted:
                read: Any = _text(wanted[name], name) if name == "prompt" else _texts(wanted[name], name)
                changed = replace(changed, **{name: read})
                if len(_context(changed.prompt, changed.keywords)) > MAX_CONTEXT:
                    message = f"prompt and keywords have more than {MAX_CONTEXT} characters"
                    raise RealtimeMistake(message, param=f"{TRANSCRIPTION}.{name}")
        if "hotwords" in wanted:
            try:
                changed = replace(changed, hotwords=tuple(read_hotwords(wanted["hotwords"] or [])))
            except WrongHotwords as error:
                raise RealtimeMistake(str(error), param=f"{TRANSCRIPTION}.hotwords") from error
        if "hotword_lists" in wanted:
            changed = replace(changed, hotword_lists=_texts(wanted["hotword_lists"], "hotword_lists"))
        if "delay" in wanted:
            delay = wanted["delay"]
            if delay is not None and (not isinstance(delay, str) or delay not in AGREEMENT):
                message = f"delay must be one of {', '.join(AGREEMENT)}"
                raise RealtimeMistake(message, param=f"{TRANSCRIPTION}.delay")
            changed = replace(changed, delay=delay)
        for name in ("word_timestamps", "speakers"):
            if name in wanted:
                when = wanted[name] or "off"
                if not isinstance(when, str) or when not in BESIDE_FINALS:
                    message = f"{name} must be one of {', '.join(BESIDE_FINALS)}"
                    raise RealtimeMistake(message, param=f"{TRANSCRIPTION}.{name}")
                told: dict[str, Any] = {name: when}
                changed = replace(changed, **told)
        named = {name: wanted[name] for name in SETTINGS if name in wanted}
        return replace(changed, wording={**self.wording, **named}) if named else changed

    def _with_turns(self, turns: Any) -> RealtimeSession:
        param = f"{INPUT}.turn_detection"
        if turns is None:
            return replace(self, wants_vad=False)
        turns = _object(turns, param)
        if turns.get("type", "server_vad") != "server_vad":
            raise RealtimeMistake("turn_detection must be server_vad or null", param=f"{param}.type")
        if not knows_turn_detection(self.model):
            message = f"{self.model} has no turn detection, as with OpenAI: set it to null and commit each turn"
            raise RealtimeMistake(message, param=param)
        changed = replace(self, wants_vad=True)
        for name, low, high in (
            ("threshold", 0.05, 0.95),
            ("prefix_padding_ms", 0, 2_000),
            ("silence_duration_ms", 64, 10_000),
        ):
            value = turns.get(name)
            if value is None:
                continue
            if _number(value) is None or not low <= value <= high:
                raise RealtimeMistake(f"{name} must lie between {low} and {high}", param=f"{param}.{name}")
            number: Any = float(value) if name == "threshold" else int(value)
            changed = replace(changed, **{name: number})
        return changed


def _check_noise_reduction(wanted: Any) -> None:
    """It is taken and has no effect: the model was made for noise."""
    param = f"{INPUT}.noise_reduction"
    wanted = _optional(wanted, param)
    if wanted.get("type") is not None and wanted["type"] not in NOISE:
        raise RealtimeMistake(f"noise_reduction must be {' or '.join(NOISE)}", param=f"{param}.type")
    if wanted.get("strength") is not None and _number(wanted["strength"]) is None:
        raise RealtimeMistake("strength must be a number", param=f"{param}.strength")


def _check_language(language: str, name: str) -> None:
    if language and not is_language(language):
        known = f"known are {', '.join(LANGUAGES.values())}, or their ISO 639 codes"
        raise RealtimeMistake(f"unknown language {language[:100]!r}; {known}", param=f"{TRANSCRIPTION}.{name}")


def _context(prompt: str, keywords: tuple[str, ...]) -> str:
    return "\n".join(part for part in (prompt, ", ".join(keywords)) if part)


def _object(value: Any, param: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise RealtimeMistake(f"{param} must be an object", param=param)
    return value


def _optional(value: Any, param: str) -> dict[str, Any]:
    """An object, an empty one where it is null."""
    return {} if value is None else _object(value, param)


def _text(value: Any, name: str) -> str:
    if value is not None and not is_text(value):
        raise RealtimeMistake(f"{name} must be a text", param=f"{TRANSCRIPTION}.{name}")
    return value or ""


def _texts(value: Any, name: str) -> tuple[str, ...]:
    """What is not blank of a list of texts."""
    if value is not None and (not isinstance(value, list) or not all(is_text(one) for one in value)):
        raise RealtimeMistake(f"{name} must be a list of texts", param=f"{TRANSCRIPTION}.{name}")
    return tuple(one.strip() for one in value or () if one.strip())


def _number(value: Any) -> int | float | None:
    """A number; true and false are none."""
    return None if isinstance(value, bool) or not isinstance(value, int | float) else value


def _listed(numbers: tuple[int, ...]) -> str:
    return " or ".join(map(str, numbers))
