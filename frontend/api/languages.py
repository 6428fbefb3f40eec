"""Languages that Qwen3-ASR names, by their ISO 639 codes."""

from __future__ import annotations

# As the decoder has them, which shares no code with the frontend.
LANGUAGES = {
    "ar": "Arabic", "yue": "Cantonese", "zh": "Chinese", "cs": "Czech", "da": "Danish", "nl": "Dutch",
    "en": "English", "fil": "Filipino", "fi": "Finnish", "fr": "French", "de": "German", "el": "Greek",
    "hi": "Hindi", "hu": "Hungarian", "id": "Indonesian", "it": "Italian", "ja": "Japanese", "ko": "Korean",
    "mk": "Macedonian", "ms": "Malay", "fa": "Persian", "pl": "Polish", "pt": "Portuguese", "ro": "Romanian",
    "ru": "Russian", "es": "Spanish", "sv": "Swedish", "th": "Thai", "tr": "Turkish", "vi": "Vietnamese",
}  # fmt: skip
CODES = {name: code for code, name in LANGUAGES.items()}


def is_language(text: str) -> bool:
    """Whether this is a name or a code of a language, in any case."""
    wanted = text.strip().lower()
    return wanted in LANGUAGES or wanted.capitalize() in CODES


def as_codes(names: list[str]) -> list[dict[str, str]]:
    """Languages that were heard, as OpenAI's answers name them; one without a code stands for itself."""
    return [{"code": CODES.get(name, name)} for name in names]
