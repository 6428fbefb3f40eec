"""A request's hotwords: from its JSON to a trie over the checkpoint's tokens."""

from __future__ import annotations

import json
import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from tokenizers import Tokenizer

from ..engine.hotwords import Hotwords, Phrase
from ..text.prompt import TEXT_MARK
from ..text.token_bytes import TokenBytes

MOST_PHRASES, MOST_CHARACTERS, MOST_TEXT = 200, 100, 40_000
# Of all phrases of a request.
MOST_TOKENS = 4_096
LOWEST_WEIGHT, HIGHEST_WEIGHT = 0.1, 10.0
# Characters whose words stand side by side without spaces: kana, Han, Thai, Lao, Khmer, Myanmar.
UNSPACED = ("HIRAGANA", "KATAKANA", "CJK", "THAI", "LAO", "KHMER", "MYANMAR")


NOT_HERE = "hotwords are not to be had of the engine vllm: serve a profile of ours for them"


@dataclass(frozen=True)
class Hotword:
    """keyword: it is among the context as well, and nothing is wrong where it can be no more than that."""

    phrase: str
    weight: float = 1.0
    keyword: bool = False


def parsed_hotwords(text: str) -> tuple[Hotword, ...]:
    """`["Qwen", {"phrase": "Triton", "weight": 2}]`; ValueError where it is anything else, or more than is allowed."""
    if len(text) > MOST_TEXT:
        raise ValueError(f"hotwords has {len(text)} characters; {MOST_TEXT} are the most")
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        values = None
    if not isinstance(values, list):
        raise ValueError('hotwords must be a json list such as ["Qwen", {"phrase": "Triton", "weight": 2}]')
    if len(values) > MOST_PHRASES:
        raise ValueError(f"hotwords has {len(values)} phrases; {MOST_PHRASES} are the most")
    return tuple(_hotword(value) for value in values)


def _hotword(value: Any) -> Hotword:
    fields = value if isinstance(value, dict) else {"phrase": value}
    phrase, weight, keyword = fields.get("phrase"), fields.get("weight", 1.0), fields.get("keyword", False)
    is_known = set(fields) <= {"phrase", "weight", "keyword"} and isinstance(keyword, bool)
    if not is_known or not isinstance(phrase, str) or not phrase.strip():
        raise ValueError("a hotword must be a text, or an object of a phrase and a weight")
    if any("\ud800" <= character <= "\udfff" for character in phrase):
        raise ValueError("a hotword holds half a character")
    if len(phrase) > MOST_CHARACTERS:
        raise ValueError(f"a hotword has {len(phrase)} characters; {MOST_CHARACTERS} are the most")
    is_number = isinstance(weight, int | float) and not isinstance(weight, bool)
    if not is_number or not LOWEST_WEIGHT <= weight <= HIGHEST_WEIGHT:
        raise ValueError(f"a hotword's weight must lie between {LOWEST_WEIGHT:g} and {HIGHEST_WEIGHT:g}")
    return Hotword(" ".join(phrase.split()), float(weight), keyword)


class HotwordTries:
    """Tries of a checkpoint, those of the last requests kept: a live session sends the same ones with every step."""

    def __init__(self, tokenizer: Tokenizer, token_bytes: TokenBytes, nats: float, *, served: bool = True) -> None:
        """nats: by how much, with a weight of 1, each token of a phrase may be less likely than the likeliest one.
        served: whether the engine can write them."""
        self._served = served
        self._tokenizer = tokenizer
        self._token_bytes = token_bytes
        self._nats = nats
        self._added = set(tokenizer.get_added_tokens_decoder())
        self._mark = tokenizer.token_to_id(TEXT_MARK)
        self._opens = lru_cache(maxsize=65536)(self._opens_words)
        self._goes_on = lru_cache(maxsize=65536)(self._goes_on_with_a_word)
        self.build = lru_cache(maxsize=32)(self._build)

    def _build(self, text: str, forced: bool) -> Hotwords | None:
        """text: a request's json, or ""; forced: whether its language is given, so that answers have no header. None
        where there is no phrase; ValueError where the json is wrong."""
        if not text:
            return None
        hotwords = parsed_hotwords(text)
        if not self._served:
            if all(hotword.keyword for hotword in hotwords):
                return None
            raise ValueError(NOT_HERE)
        phrases = [phrase for number, hotword in enumerate(hotwords) for phrase in self._phrases(number, hotword)]
        if not phrases:
            return None
        count = sum(len(phrase.ids) for phrase in phrases if phrase.bare)
        if count > MOST_TOKENS:
            raise ValueError(f"hotwords has {count} tokens; {MOST_TOKENS} are the most")
        return Hotwords(phrases, None if forced else self._mark, self._opens, self._goes_on)

    def _phrases(self, number: int, hotword: Hotword) -> list[Phrase]:
        """A phrase as it stands where a text begins, and behind a space."""
        anywhere = is_unspaced(hotword.phrase[0])
        bare = self._phrase(number, hotword.phrase, hotword.weight, anywhere=anywhere, bare=True)
        if not self._added.isdisjoint(bare.ids):
            if hotword.keyword:
                return []
            raise ValueError("a hotword has a control token of the model")
        return [bare] if anywhere else [bare, self._phrase(number, " " + hotword.phrase, hotword.weight)]

    def _phrase(self, number: int, text: str, weight: float, *, anywhere: bool = False, bare: bool = False) -> Phrase:
        ids = tuple(self._tokenizer.encode(text, add_special_tokens=False).ids)
        return Phrase(number, ids, self._nats * weight * len(ids), anywhere, bare)

    def _opens_words(self, token: int) -> bool:
        """Whether a word may begin right after this token: what it ends with is no letter, or of a script without
        spaces."""
        last = self._token_bytes(token).decode(errors="replace")[-1:]
        return bool(last) and (is_unspaced(last) or last == "\ufffd" or not (last.isalnum() or last.isspace()))

    def _goes_on_with_a_word(self, token: int) -> bool:
        first = self._token_bytes(token).decode(errors="replace")[:1]
        return first.isalnum() and not is_unspaced(first)


def is_unspaced(character: str) -> bool:
    """Whether it is of a script that puts no spaces between words."""
    return unicodedata.name(character, "").startswith(UNSPACED)
