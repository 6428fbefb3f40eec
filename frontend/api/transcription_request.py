"""What a transcription request asks for, in OpenAI's fields, checked: every mistake names its field."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from frontend.api.form_fields import MAX_CONTEXT, MAX_KEYWORDS, MAX_LANGUAGES, MAX_NAME
from frontend.api.speakers_request import SpeakersRequest
from frontend.api.strict_json import is_text, parsed
from frontend.audio.segments import SegmentRules
from frontend.audio.subtitles import SubtitleLayout
from frontend.errors import ApiError
from frontend.wording.hotwords import Hotword, WrongHotwords, all_hotwords
from frontend.wording.wanted import Wanted

FORMATS = ("json", "text", "srt", "verbose_json", "vtt", "diarized_json")
TIMED_FORMATS = ("srt", "verbose_json", "vtt")
GRANULARITIES = ("segment", "word")
NO_WORDS = "word_timestamps_unavailable"
NO_WORDS_HERE = "word times are not served here: no forced aligner is exported (python -m export all --aligner)"
NO_SPEAKERS = "speakers_unavailable"
NO_SPEAKERS_HERE = "speakers are not told apart here: no speaker encoder is exported (python -m export speakers)"
INCLUDES = ("logprobs",)
# Of values that are names of a few.
MAX_FEW = 10
# Subtitles stay readable, and a click on a segment finds its words.
TIMED_RULES = SegmentRules(max_s=12.0, early_s=3.0, pause_ms=350)
# Where words have no times a segment is one speaker's: it ends where somebody else may begin.
TURN_RULES = SegmentRules(max_s=12.0, early_s=0.5, pause_ms=350)


@dataclass(frozen=True)
class TranscriptionRequest:
    """A checked request. context: prompt and keywords as the model takes them; segments: a stream tells them, timed;
    words: they have times, and tells_words: these are told; layout: of subtitles; speakers: who says it is told;
    hotwords: all of them, keywords among them; wording: what becomes of the text."""

    response_format: str
    stream: bool
    language: str | None
    context: str | None
    temperature: float
    logprobs: bool
    debug: bool
    rules: SegmentRules | None
    segments: bool = False
    words: bool = False
    tells_words: bool = False
    layout: SubtitleLayout = field(default_factory=SubtitleLayout)
    speakers: SpeakersRequest | None = None
    hotwords: tuple[Hotword, ...] = ()
    wording: Wanted = field(default_factory=Wanted)


def checked_request(
    *,
    response_format: str = "json",
    stream: bool = False,
    language: str | None = None,
    languages: Sequence[str] = (),
    prompt: str | None = None,
    keywords: Sequence[str] = (),
    temperature: float = 0.0,
    include: Sequence[str] = (),
    timestamp_granularities: Sequence[str] = (),
    chunking_strategy: str | None = None,
    debug: bool = False,
    layout: SubtitleLayout | None = None,
    speakers: SpeakersRequest | None = None,
    wording: Wanted | None = None,
    has_aligner: bool = False,
    has_speakers: bool = False,
    hotwords: Sequence[Hotword] = (),
) -> TranscriptionRequest:
    """Raises ApiError 400 where a field is none that can be served, or fields do not go together. has_aligner: words
    can have times here; has_speakers: speakers can be told apart."""
    layout, wording = layout or SubtitleLayout(), wording or Wanted()
    _check_texts(
        language=[language or ""],
        languages=languages,
        prompt=[prompt or ""],
        keywords=keywords,
        include=include,
        timestamp_granularities=timestamp_granularities,
    )
    if not 0 <= temperature <= 1:
        raise ApiError(400, "temperature must lie between 0 and 1", param="temperature")
    if response_format not in FORMATS:
        raise ApiError(400, f"response_format must be one of {', '.join(FORMATS)}", param="response_format")
    if stream and response_format not in ("json", "text", "diarized_json"):
        message = "stream goes with the response_format json, text or diarized_json"
        raise ApiError(400, message, param="response_format")
    diarized = response_format == "diarized_json"
    speakers = speakers or (SpeakersRequest() if diarized else None)
    if speakers is not None and not (diarized or stream or response_format in TIMED_FORMATS):
        message = "speakers go with the response_format diarized_json, verbose_json, srt or vtt, or with stream"
        raise ApiError(400, message, param=speakers.named or "response_format")
    if speakers is not None and not has_speakers:
        raise ApiError(400, NO_SPEAKERS_HERE, param=speakers.named or "response_format", code=NO_SPEAKERS)
    _check_known("include", include, INCLUDES)
    if include and response_format != "json":
        raise ApiError(400, "include goes with the response_format json", param="include")
    _check_wording(wording, response_format, logprobs="logprobs" in include)
    _check_known("timestamp_granularities", timestamp_granularities, GRANULARITIES)
    if timestamp_granularities and response_format != "verbose_json" and not stream:
        message = "timestamp_granularities goes with the response_format verbose_json, or with stream"
        raise ApiError(400, message, param="timestamp_granularities")
    if (complaint := layout.complaint(response_format)) is not None:
        raise ApiError(400, complaint[1], param=complaint[0])
    words = "word" in timestamp_granularities
    if (words or layout.needs_words) and not has_aligner:
        raise no_words("timestamp_granularities" if words else layout.named[0])
    rules = _rules(chunking_strategy)
    if rules is None and (response_format in TIMED_FORMATS or timestamp_granularities):
        rules = TIMED_RULES
    if speakers is not None and _rules(chunking_strategy) is None:
        rules = TIMED_RULES if has_aligner else TURN_RULES
    known = _hotwords(hotwords, keywords)
    if wording.phonetic and not known:
        raise ApiError(400, "phonetic needs hotwords: what sounds like one becomes it", param="phonetic")
    return TranscriptionRequest(
        response_format=response_format,
        stream=stream,
        language=_language(language, languages),
        context=_context(prompt, keywords),
        temperature=temperature,
        logprobs="logprobs" in include,
        debug=debug,
        rules=rules,
        # As OpenAI has it: who asks for words alone gets no segments.
        segments="segment" in timestamp_granularities,
        # Words tell where in a segment somebody else begins.
        words=words or layout.needs_words or (speakers is not None and has_aligner),
        layout=layout,
        tells_words=words or layout.needs_words,
        speakers=speakers,
        hotwords=known,
        wording=replace(wording, hotwords=tuple(one.phrase for one in known)),
    )


def _check_wording(wording: Wanted, response_format: str, *, logprobs: bool) -> None:
    if logprobs and wording.rewrites:
        message = f"logprobs are of what was recognized: they do not go with {wording.named}"
        raise ApiError(400, message, param=wording.named)
    if wording.role is not None and wording.tells and response_format in ("text", "srt", "vtt"):
        message = f"what {wording.role.name} tells has no place in the response_format {response_format}"
        raise ApiError(400, message, param="correct")


def no_words(param: str) -> ApiError:
    """Where words have no times."""
    return ApiError(400, NO_WORDS_HERE, param=param, code=NO_WORDS)


def _check_known(param: str, values: Sequence[str], known: Sequence[str]) -> None:
    for value in values:
        if value not in known:
            raise ApiError(400, f"{param} must be one of {', '.join(known)}, not {value!r}", param=param)


def _check_texts(**texts: Sequence[str]) -> None:
    """How many they are, how long, and that they can be written down: a form's charset makes halves of characters."""
    counts = {"languages": MAX_LANGUAGES, "keywords": MAX_KEYWORDS}
    for param, values in texts.items():
        most = counts.get(param, MAX_FEW)
        if len(values) > most:
            raise ApiError(400, f"{param} has {len(values)} values; {most} are the most", param=param)
        longest = MAX_CONTEXT if param in ("prompt", "keywords") else MAX_NAME
        if any(len(value) > longest for value in values):
            raise ApiError(400, f"{param} has more than {longest} characters", param=param)
        if not all(map(is_text, values)):
            raise ApiError(400, f"{param} holds half a character", param=param)


def _language(language: str | None, languages: Sequence[str]) -> str | None:
    """One language is taken as given; of several possible ones the model finds the right one by itself."""
    named = [one for one in languages if one.strip()]
    if language and named:
        raise ApiError(400, "language and languages exclude each other", param="languages")
    if language:
        return language
    return named[0] if len(named) == 1 else None


def _context(prompt: str | None, keywords: Sequence[str]) -> str | None:
    words = ", ".join(word.strip() for word in keywords if word.strip())
    context = "\n".join(part for part in ((prompt or "").strip(), words) if part)
    if len(context) > MAX_CONTEXT:
        message = f"prompt and keywords have {len(context)} characters; {MAX_CONTEXT} are the most"
        raise ApiError(400, message, param="prompt")
    return context or None


def _hotwords(given: Sequence[Hotword], keywords: Sequence[str]) -> tuple[Hotword, ...]:
    try:
        return tuple(all_hotwords(given, (), keywords))
    except WrongHotwords as error:
        raise ApiError(400, str(error), param=error.param) from error


def _rules(strategy: str | None) -> SegmentRules | None:
    """chunking_strategy: `auto`, or json of server_vad."""
    if not strategy or strategy == "auto":
        return None
    try:
        fields: Any = parsed(strategy)
    except ValueError:
        fields = None
    if not isinstance(fields, dict) or fields.get("type") != "server_vad":
        message = 'chunking_strategy must be auto or an object such as {"type": "server_vad"}'
        raise ApiError(400, message, param="chunking_strategy")
    known = {"type", "prefix_padding_ms", "silence_duration_ms", "threshold"}
    unknown = sorted(set(fields) - known)
    if unknown:
        raise ApiError(400, f"chunking_strategy has no field {unknown[0][:MAX_NAME]!r}", param="chunking_strategy")
    return SegmentRules(
        early_s=1.0,
        pause_ms=int(_number(fields, "silence_duration_ms", 500, 32, 10_000)),
        padding_ms=int(_number(fields, "prefix_padding_ms", 300, 0, 5_000)),
        threshold=_number(fields, "threshold", 0.5, 0.05, 0.95),
    )


def _number(fields: dict[str, Any], name: str, default: float, low: float, high: float) -> float:
    value = fields.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        message = f"{name} must be a number between {low:g} and {high:g}, not {ascii(value)[:MAX_NAME]}"
        raise ApiError(400, message, param="chunking_strategy")
    return float(value)
