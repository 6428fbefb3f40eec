"""What a session may ask for, checked: every mistake has its own message."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

SAMPLE_RATE_HZ = 16_000
SAMPLES_PER_MS = SAMPLE_RATE_HZ // 1000
# Characters of the texts that a session may send; the decoder has its own bound, in tokens.
MAX_LENGTHS = {"language": 100, "context": 20_000, "hotwords": 40_000}
# When something more is told of a final that takes time to be found: never, behind it, or inside of it.
BESIDE_FINALS = ("off", "event", "final")
COMMANDS = ("flush", "reset")
# Triton's own, and what says what a request is rather than how the session goes on.
OTHER = ("command", "hold", "canary", "unheard_samples", "told_samples", "told_speakers")
# Of a session that goes on from another one, and begins a little before where that one was.
MAX_OVERLAP = 10 * SAMPLE_RATE_HZ
MAX_SPEAKERS = 1_000
TRITONS = "triton_"


@dataclass(frozen=True)
class Settings:
    """How a session hears and speaks.

    vad: `on` finds utterances by voice activity; `off` takes every sample as speech, until a flush.
    threshold: probability in (0, 1) above which a window is speech. prefix_padding_ms: audio kept before and after
    speech. min_speech_ms: less is no speech. silence_ms: a pause this long ends an utterance. max_utterance_s: a longer
    one is cut at its quietest place. partial_interval_ms: new audio between two steps. agreement: hypotheses in a row
    that have to agree on a word before it is stable. word_timestamps: `off`; `event`: when each word of a final was
    said follows it; `final`: the final waits for that. speakers: the same for who speaks. hotwords: phrases to listen
    for, as the decoder's parameter has them. debug: timings and counts in events.
    """

    language: str = ""
    context: str = ""
    vad: str = "on"
    threshold: float = 0.5
    prefix_padding_ms: int = 300
    min_speech_ms: int = 96
    silence_ms: int = 600
    max_utterance_s: float = 30.0
    partial_interval_ms: int = 450
    agreement: int = 2
    word_timestamps: str = "off"
    speakers: str = "off"
    hotwords: str = ""
    debug: bool = False

    def __post_init__(self) -> None:
        if self.vad not in ("on", "off"):
            raise ValueError(f"vad must be on or off, not {self.vad[:20]!r}")
        for name in ("word_timestamps", "speakers"):
            if getattr(self, name) not in BESIDE_FINALS:
                known = ", ".join(BESIDE_FINALS)
                raise ValueError(f"{name} must be one of {known}, not {getattr(self, name)[:20]!r}")
        for name, most in MAX_LENGTHS.items():
            if len(getattr(self, name)) > most:
                raise ValueError(f"{name} has {len(getattr(self, name))} characters; {most} are the most")
        for name, low, high in (
            ("threshold", 0.05, 0.95),
            ("prefix_padding_ms", 0, 2_000),
            ("min_speech_ms", 0, 2_000),
            ("silence_ms", 64, 10_000),
            ("max_utterance_s", 2, 120),
            ("partial_interval_ms", 20, 60_000),
            ("agreement", 1, 10),
        ):
            if not low <= getattr(self, name) <= high:
                raise ValueError(f"{name} must lie between {low} and {high}, not {getattr(self, name)}")

    def changed(self, parameters: Mapping[str, Any], min_partial_interval_ms: int = 20) -> Settings:
        """These settings with what a request's parameters name; ValueError where a name or a value is wrong.

        min_partial_interval_ms: the server's floor of what may be asked for: steps cost others their turns.
        """
        changes: dict[str, Any] = {}
        for name, value in parameters.items():
            if name in OTHER or name.startswith(TRITONS):
                continue
            field = self.__dataclass_fields__.get(name)
            if field is None:
                known = ", ".join((*self.__dataclass_fields__, *OTHER))
                raise ValueError(f"unknown parameter {name!r}; known are {known}")
            changes[name] = _converted(name, value, type(field.default))
        interval_ms = changes.get("partial_interval_ms")
        if interval_ms is not None and interval_ms < min_partial_interval_ms:
            raise ValueError(
                f"partial_interval_ms must be at least {min_partial_interval_ms} on this server, not {interval_ms}"
            )
        return replace(self, **changes) if changes else self

    @property
    def padding(self) -> int:
        """Samples kept before and after speech."""
        return self.prefix_padding_ms * SAMPLES_PER_MS

    @property
    def silence(self) -> int:
        """Samples without voice that end an utterance."""
        return self.silence_ms * SAMPLES_PER_MS

    @property
    def max_utterance(self) -> int:
        """Samples of the longest utterance."""
        return int(self.max_utterance_s * SAMPLE_RATE_HZ)

    @property
    def partial_interval(self) -> int:
        """Samples between two steps."""
        return self.partial_interval_ms * SAMPLES_PER_MS


def _converted(name: str, value: Any, kind: type) -> Any:
    """A parameter's value, which may come as text, as the type that is wanted."""
    if kind is bool:
        if str(value).lower() not in ("true", "false", "1", "0"):
            raise ValueError(f"{name} must be true or false, not {value!r}")
        return str(value).lower() in ("true", "1")
    if kind is str:
        if not isinstance(value, str):
            raise ValueError(f"{name} must be text, not {value!r}")
        return value
    try:
        number = float(value)
        if kind is int and number != int(number):
            raise ValueError
        return kind(number)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"{name} must be a number, not {value!r}") from None


def checked_command(parameters: Mapping[str, Any]) -> str:
    """The parameter `command`, "" where it is left out; ValueError where there is none of that name."""
    command = parameters.get("command", "")
    if command and command not in COMMANDS:
        raise ValueError(f"command must be one of {', '.join(COMMANDS)}, not {command!r}")
    return str(command)


def checked_hold(parameters: Mapping[str, Any]) -> bool:
    """The parameter `hold`, true where it is left out."""
    return bool(_converted("hold", parameters.get("hold", True), bool))


def checked_canary(parameters: Mapping[str, Any]) -> bool:
    """The parameter `canary`, false where it is left out: the session is a watcher's question, no user's."""
    return bool(_converted("canary", parameters.get("canary", False), bool))


@dataclass(frozen=True)
class Overlap:
    """What a session that goes on from another one begins with. unheard: so many samples the detector of speech is not
    to hear, as it began anew behind them; told: so many are part of utterances that have their final; speakers: so many
    have letters already."""

    unheard: int = 0
    told: int = 0
    speakers: int = 0


def checked_overlap(parameters: Mapping[str, Any], *, start: bool) -> Overlap:
    """The parameters `unheard_samples`, `told_samples` and `told_speakers`, 0 where they are left out. ValueError but
    for the first request of a session."""
    most = {"unheard_samples": MAX_OVERLAP, "told_samples": MAX_OVERLAP, "told_speakers": MAX_SPEAKERS}
    told = [int(_converted(name, parameters.get(name, 0), int)) for name in most]
    for (name, highest), value in zip(most.items(), told, strict=True):
        if not 0 <= value <= highest:
            raise ValueError(f"{name} must lie between 0 and {highest}, not {value}")
        if value and not start:
            raise ValueError(f"{name} belongs to a session's first request")
    return Overlap(*told)
