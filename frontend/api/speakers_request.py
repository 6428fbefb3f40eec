"""What a request asks of its speakers, in OpenAI's fields, checked."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Sequence
from dataclasses import dataclass

from frontend.api.strict_json import is_text
from frontend.errors import ApiError

MOST_KNOWN, MOST_SPEAKERS, MAX_SPEAKER_NAME = 4, 100, 64
# Ten seconds of two channels at 48 kHz in 16 bits are 1.9 MB.
MAX_REFERENCE_BYTES = 2_500_000
# Of a data URL before its data.
MAX_HEADER = 1_000
DATA_URL = re.compile(r"data:(?:audio|video|application)/[\w.+-]{1,60}(?:;[\w.+-]{1,40}=[\w.+-]{1,60}){0,8};base64,")
NAMES, REFERENCES = "known_speaker_names", "known_speaker_references"


@dataclass(frozen=True)
class SpeakersRequest:
    """names and references: of those that are known, references as files; at_least, at_most: how many speak, 0 where
    that is to be found. named: the field by which speakers were asked for, "" where the format did."""

    names: tuple[str, ...] = ()
    references: tuple[bytes, ...] = ()
    at_least: int = 0
    at_most: int = 0
    named: str = ""


def checked_speakers(
    names: Sequence[str], references: Sequence[str], at_least: int | None, at_most: int | None, *, diarize: bool
) -> SpeakersRequest | None:
    """None where no field asks for speakers. Raises ApiError 400 where one is none that can be served."""
    given = {
        NAMES: bool(names),
        REFERENCES: bool(references),
        "min_speakers": at_least is not None,
        "max_speakers": at_most is not None,
        "diarize": diarize,
    }
    named = next((name for name, is_given in given.items() if is_given), "")
    if not named:
        return None
    if len(names) != len(references):
        message = f"{NAMES} are {len(names)} and {REFERENCES} {len(references)}: each name has a reference"
        raise ApiError(400, message, param=NAMES)
    if len(names) > MOST_KNOWN:
        raise ApiError(400, f"{MOST_KNOWN} known speakers are the most", param=NAMES)
    for name in names:
        if not name.strip() or len(name) > MAX_SPEAKER_NAME or not is_text(name) or not name.isprintable():
            message = f"a known speaker's name has 1 to {MAX_SPEAKER_NAME} characters that can be printed"
            raise ApiError(400, message, param=NAMES)
    if len({name.strip() for name in names}) < len(names):
        raise ApiError(400, "two known speakers have one name", param=NAMES)
    if at_least and at_most and at_least > at_most:
        raise ApiError(400, f"min_speakers is {at_least}, more than max_speakers, {at_most}", param="min_speakers")
    if at_most and at_most < len(names):
        raise ApiError(400, f"max_speakers is {at_most}, and {len(names)} are known", param="max_speakers")
    return SpeakersRequest(
        tuple(name.strip() for name in names),
        tuple(map(_file_of, references)),
        at_least or 0,
        at_most or 0,
        named,
    )


def _file_of(url: str) -> bytes:
    if len(url) > MAX_REFERENCE_BYTES * 4 // 3 + MAX_HEADER:
        raise ApiError(400, f"a reference has more than {MAX_REFERENCE_BYTES} bytes", param=REFERENCES)
    found = DATA_URL.match(url)
    if found is None:
        message = f"{REFERENCES} are data URLs of sound: data:audio/wav;base64,…"
        raise ApiError(400, message, param=REFERENCES)
    try:
        return base64.b64decode(url[found.end() :], validate=True)
    except (binascii.Error, ValueError) as error:
        raise ApiError(400, f"a reference is not base64: {error}", param=REFERENCES) from error
