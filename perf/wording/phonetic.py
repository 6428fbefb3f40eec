"""Names that were misheard, and sentences in which none are: what phonetic correction finds, and what it spoils."""

from __future__ import annotations

import itertools
from typing import Any

from frontend.wording.phonetic import replacements
from perf.wording.tables import rows

SAID = {"English": "I talked about {} with them.", "Chinese": "我们昨天和{}一起工作。"}
# Where only some of it is measured.
QUICK = 7


def phonetic(quick: bool) -> dict[str, Any]:
    """Every pair of `pairs.tsv` in a sentence, with the names of its language as hotwords; every sentence of
    `clean.tsv` with each of its words, with the same hotwords."""
    figures: dict[str, Any] = {}
    found, spoiled = [], []
    names = {language: [row[1] for row in rows("names") if row[0] == language] for language in SAID}
    for language, sentence in SAID.items():
        pairs = [row[1:] for row in rows("pairs") if row[0] == language][:: QUICK if quick else 1]
        right = [_phrases(sentence.format(heard), names[language], language) == [name] for name, heard in pairs]
        clean = [row[1:] for row in rows("clean") if row[0] == language]
        sentences = [text for kind, text in clean if kind == "sentence"]
        words = [text for kind, text in clean if kind == "word"]
        texts = [one.format(word) for one, word in itertools.product(sentences, words)][:: QUICK if quick else 1]
        wrong = [bool(_phrases(text, names[language], language)) for text in texts]
        figures[f"wording.phonetic_recall_{language.lower()}"] = sum(right) / len(right)
        figures[f"wording.phonetic_false_{language.lower()}"] = sum(wrong) / len(wrong)
        found += right
        spoiled += wrong
    figures |= {"wording.phonetic_pairs": len(found), "wording.phonetic_clean_sentences": len(spoiled)}
    figures["wording.phonetic_recall"] = sum(found) / len(found)
    figures["wording.phonetic_false"] = sum(spoiled) / len(spoiled)
    return figures


def _phrases(text: str, hotwords: list[str], language: str) -> list[str]:
    return [one.phrase for one in replacements(text, hotwords, language)]
