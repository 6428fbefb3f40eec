"""The prompt around the audio, and the text inside of what the model answers.

The model is asked by the checkpoint's chat template and answers `language English<asr_text>what was said`. A forced
language is given as the beginning of that answer.
"""

from __future__ import annotations

import logging
from functools import lru_cache

from tokenizers import Tokenizer
from tokenizers.decoders import DecodeStream

logger = logging.getLogger(__name__)

MOST_CHARACTERS_A_TOKEN = 32
AUDIO_PAD = "<|audio_pad|>"
TEXT_MARK = "<asr_text>"
FALLBACK = (
    "<|im_start|>system\n{context}<|im_end|>\n<|im_start|>user\n<|audio_start|>"
    + AUDIO_PAD
    + "<|audio_end|><|im_end|>\n<|im_start|>assistant\n"
)
# ISO 639 codes of the languages that Qwen3-ASR names.
LANGUAGES = {
    "ar": "Arabic", "yue": "Cantonese", "zh": "Chinese", "cs": "Czech", "da": "Danish", "nl": "Dutch",
    "en": "English", "fil": "Filipino", "fi": "Finnish", "fr": "French", "de": "German", "el": "Greek",
    "hi": "Hindi", "hu": "Hungarian", "id": "Indonesian", "it": "Italian", "ja": "Japanese", "ko": "Korean",
    "mk": "Macedonian", "ms": "Malay", "fa": "Persian", "pl": "Polish", "pt": "Portuguese", "ro": "Romanian",
    "ru": "Russian", "es": "Spanish", "sv": "Swedish", "th": "Thai", "tr": "Turkish", "vi": "Vietnamese",
}  # fmt: skip


def language_name(language: str) -> str:
    """The model's name of a language given by name or code, in any case; ValueError where it has none."""
    wanted = language.strip().lower()
    for code, name in LANGUAGES.items():
        if wanted in (code, name.lower()):
            return name
    raise ValueError(
        f"unknown language {language!r}; known are {', '.join(LANGUAGES.values())}, or their ISO 639 codes"
    )


class PromptBuilder:
    """Makes the tokens before and after the audio from context and language."""

    def __init__(self, tokenizer: Tokenizer, template: str | None, max_context_tokens: int) -> None:
        self._tokenizer = tokenizer
        self._template = template
        self._max_context_tokens = max_context_tokens
        # By their last character, longest first.
        self._special: dict[str, list[str]] = {}
        special = (token.content for token in tokenizer.get_added_tokens_decoder().values())
        for content in sorted(special, key=len, reverse=True):
            self._special.setdefault(content[-1], []).append(content)
        self.build = lru_cache(maxsize=256)(self._build)
        # The template's engine is imported and the template compiled now, not while the first client waits.
        self.build("", None)

    def _build(self, context: str, language: str | None) -> tuple[list[int], list[int]]:
        """Token ids before and after the audio.

        context: words to expect. language: the model's name of the forced language, or None.
        Raises ValueError where the context is too long.
        """
        # No language has tokens of so many characters on average; what is longer is not even read.
        if len(context) > MOST_CHARACTERS_A_TOKEN * self._max_context_tokens:
            raise ValueError(f"CONTEXT has more than {self._max_context_tokens} tokens")
        context = self._plain(context)
        if len(self._ids(context)) > self._max_context_tokens:
            raise ValueError(f"CONTEXT has more than {self._max_context_tokens} tokens")
        before, after = self._rendered(context).split(AUDIO_PAD)
        if language is not None:
            after += f"language {language}{TEXT_MARK}"
        return self._ids(before), self._ids(after)

    def _plain(self, context: str) -> str:
        """The context without control tokens, which would end its turn, nor what becomes one when another is taken out.

        Character by character, each looked at once: the time is linear, however they are nested.
        """
        kept: list[str] = []
        for character in context:
            kept.append(character)
            for token in self._special.get(character, ()):
                if len(kept) >= len(token) and "".join(kept[-len(token) :]) == token:
                    del kept[-len(token) :]
                    break
        return "".join(kept)

    def _rendered(self, context: str) -> str:
        if self._template is not None:
            try:
                rendered = _render(self._template, context)
                if rendered.count(AUDIO_PAD) == 1:
                    return rendered
                logger.warning("the chat template does not place the audio once; the built-in prompt is used")
            except Exception as error:
                logger.warning("the chat template failed (%s); the built-in prompt is used", error)
            self._template = None
        return FALLBACK.format(context=context)

    def _ids(self, text: str) -> list[int]:
        return self._tokenizer.encode(text, add_special_tokens=False).ids


def _render(template: str, context: str) -> str:
    # jinja2 comes with torch.
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    messages = [
        {"role": "system", "content": [{"type": "text", "text": context}]},
        {"role": "user", "content": [{"type": "audio", "audio": ""}]},
    ]
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(template).render(messages=messages, add_generation_prompt=True)


class Transcript:
    """Turns the tokens of an answer into text as they come.

    Deltas are whole characters, without the language header and without spaces at either end; together they are
    exactly `text`.
    """

    def __init__(self, tokenizer: Tokenizer, forced_language: str | None) -> None:
        self._tokenizer = tokenizer
        self._stream = DecodeStream(skip_special_tokens=True)
        self._ids: list[int] = []
        # Tokens before this one are the language header.
        self.first_of_text = 0
        self._decoded = ""
        self._forced_language = forced_language
        self.language = forced_language
        self.text = ""

    def add(self, ids: list[int]) -> str:
        """What these tokens add to the text."""
        for token in ids:
            self._ids.append(token)
            # None while a character's bytes are incomplete.
            piece = self._stream.step(self._tokenizer, token) or ""
            if self._forced_language is None and TEXT_MARK in self._decoded + piece and TEXT_MARK not in self._decoded:
                self.first_of_text = len(self._ids)
            self._decoded += piece
        if self._forced_language is None and TEXT_MARK not in self._decoded:
            return ""
        return self._grow(self._decoded)

    def finish(self) -> str:
        """What is left when the answer has ended; a character that was never completed is dropped."""
        return self._grow(self._tokenizer.decode(self._ids, skip_special_tokens=True).rstrip("\ufffd"))

    def _grow(self, decoded: str) -> str:
        if self._forced_language is None:
            self.language, text = parse_answer(decoded)
        else:
            text = decoded.strip()
        delta = text[len(self.text) :]
        self.text = text
        return delta


def parse_answer(decoded: str) -> tuple[str | None, str]:
    """`language English<asr_text>one two` -> ("English", "one two"); an answer without the mark is all text.

    The language is None where the model names none: nothing was said.
    """
    header, mark, text = decoded.partition(TEXT_MARK)
    if not mark:
        return None, decoded.strip()
    word, _, name = header.strip().partition(" ")
    if word.lower() != "language" or name.strip().lower() in ("", "none"):
        return None, text.strip()
    return name.strip(), text.strip()
