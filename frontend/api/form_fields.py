"""Form fields that several routes take."""

from __future__ import annotations

from typing import Annotated

from fastapi import File, Form, UploadFile

from frontend.api.speakers_request import MOST_KNOWN, MOST_SPEAKERS
from frontend.wording.hotwords import MOST_LISTS, MOST_TEXT

# Characters of a word that names something, of all words to expect, and of a strategy's json.
MAX_NAME, MAX_CONTEXT, MAX_STRATEGY = 100, 20_000, 2_000
MAX_LANGUAGES, MAX_KEYWORDS = 50, 200
# Of a line of subtitles, and of a cue.
MAX_WIDTH, MAX_WORDS, MAX_LINES = 500, 100, 20

Upload = Annotated[
    UploadFile, File(description="Sound, or a film with sound, in a format of recordings that FFmpeg reads.")
]
Name = Annotated[str, Form(max_length=MAX_NAME, description="A name that /v1/models lists.")]
Language = Annotated[
    str | None, Form(max_length=MAX_NAME, description="ISO-639 code or English name; left out: recognized.")
]
Prompt = Annotated[
    str | None,
    Form(max_length=MAX_CONTEXT, description=f"Names and words to expect; with keywords {MAX_CONTEXT} characters."),
]
Format = Annotated[str, Form(max_length=MAX_NAME, description="json, text, srt, verbose_json, vtt or diarized_json.")]
Temperature = Annotated[
    float,
    Form(ge=0, le=1, allow_inf_nan=False, description="0 to 1; 0 takes the likeliest token each time."),
]
LineWidth = Annotated[
    int | None, Form(ge=1, le=MAX_WIDTH, description="Of srt and vtt: characters of a line; lines are cut at words.")
]
LineCount = Annotated[int | None, Form(ge=1, le=MAX_LINES, description="Of srt and vtt: lines of a cue.")]
WordsPerLine = Annotated[int | None, Form(ge=1, le=MAX_WORDS, description="Of srt and vtt: words of a line.")]
HighlightWords = Annotated[bool, Form(description="Of srt and vtt: a cue for each word, which it underlines.")]
Karaoke = Annotated[bool, Form(description="Of vtt: the time of each word inside of its cue.")]
Diarize = Annotated[bool, Form(description="Tell who speaks: in verbose_json, srt, vtt, or a stream's segments.")]
MinSpeakers = Annotated[int | None, Form(ge=1, le=MOST_SPEAKERS, description="So many speak at least.")]
MaxSpeakers = Annotated[int | None, Form(ge=1, le=MOST_SPEAKERS, description="So many speak at most.")]
KnownNames = Annotated[
    list[str] | None,
    Form(alias="known_speaker_names[]", description=f"What known speakers are called, {MOST_KNOWN} at most."),
]
KnownReferences = Annotated[
    list[str] | None,
    Form(
        alias="known_speaker_references[]", description="2 to 10 s of speech of each, in the same order, as data URLs."
    ),
]
HotwordsField = Annotated[
    str | None,
    Form(max_length=MOST_TEXT, description="Phrases that are written where they may have been said, as json or text."),
]
ListNames = Annotated[
    list[str] | None,
    Form(alias="hotword_lists[]", description=f"Names of the server's lists of them, {MOST_LISTS} at most."),
]
TextFormat = Annotated[str, Form(max_length=MAX_NAME, description="recognized, or written: 23 for twenty three.")]
Phonetic = Annotated[bool, Form(description="What sounds like a hotword becomes it.")]
FilterNames = Annotated[
    list[str] | None, Form(alias="filters[]", description="Lists of words to leave out or to mask; /health has them.")
]
Mask = Annotated[str, Form(max_length=MAX_NAME, description="How masked words are shown: first (letter), or all.")]
Correct = Annotated[
    str | None,
    Form(max_length=MAX_NAME, description="true, or a role that /health has: what a language model does to the text."),
]
Stream = Annotated[bool, Form(description="Answer with server-sent events.")]
Debug = Annotated[bool, Form(description="Add meta.timings_ms.")]
