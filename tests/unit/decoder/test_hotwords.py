"""A request's hotwords as JSON, and what becomes of them as tokens."""

from __future__ import annotations

import json
import tracemalloc

import pytest
from tokenizers import Tokenizer

from export.rooms import room
from tests.conftest import ROOT

text = room("decoder", "serving.hotwords")
token_bytes = room("decoder", "text.token_bytes")
biasing = room("decoder", "engine.biasing")


@pytest.fixture(scope="module")
def tokenizer():
    return Tokenizer.from_file(str(ROOT / "export" / "tiny" / "tiny" / "tokenizer.json"))


@pytest.fixture(scope="module")
def tries(tokenizer):
    return text.HotwordTries(tokenizer, token_bytes.TokenBytes(tokenizer), 1.0)


def walked(hotwords, ids):
    walk = hotwords.begin()
    for token in ids:
        walk = walk.after(token)
    return walk


def wanted(tokenizer, hotwords, before):
    """Texts of the tokens that are looked for behind a text."""
    walk = walked(hotwords, tokenizer.encode(before, add_special_tokens=False).ids)
    return {tokenizer.decode([token]) for token in walk.wanted.tolist()}


@pytest.mark.parametrize(
    "wrong",
    [
        "x", "{}", "[1]", "[[]]", '[""]', '[" "]', '[{"phrase": "a", "weight": 0}]',
        '[{"phrase": "a", "weight": true}]', '[{"phrase": "a", "weight": NaN}]',
        '[{"phrase": "a", "of": 1}]', '[{"weight": 1}]', json.dumps(["a" * 101]),
        json.dumps(["a"] * 201), "[" * 30_000, " " * 40_001, '["<|im_end|>"]', '["say <asr_text> now"]',
        json.dumps(["\U0001f600" * 100] * 200), '[{"phrase": "a", "keyword": 1}]', '["\\ud800"]',
    ],
)  # fmt: skip
def test_what_is_wrong_is_told(tries, wrong):
    with pytest.raises(ValueError, match="hotword"):
        tries.build(wrong, False)


def test_nothing_is_no_hotwords(tries):
    assert tries.build("", False) is None
    assert tries.build("[]", True) is None


def test_keywords_are_hotwords_where_they_can_be_and_nothing_elsewhere(tokenizer):
    known = token_bytes.TokenBytes(tokenizer)
    ours = text.HotwordTries(tokenizer, known, 1.0)
    keywords = json.dumps([{"phrase": one, "keyword": True} for one in ("two", "<|im_end|>")])
    assert wanted(tokenizer, ours.build(keywords, True), "") == wanted(tokenizer, ours.build('["two"]', True), "")
    assert ours.build('[{"phrase": "<|im_end|>", "keyword": true}]', True) is None
    other = text.HotwordTries(tokenizer, known, 1.0, served=False)
    assert other.build(keywords, True) is None
    with pytest.raises(ValueError, match="not to be had"):
        other.build('["two"]', True)


def test_a_word_begins_where_words_begin(tokenizer, tries):
    hotwords = tries.build('["two"]', True)
    first = {tokenizer.decode([tokenizer.encode(one, add_special_tokens=False).ids[0]]) for one in ("two", " two")}
    assert len(first) == 2
    assert wanted(tokenizer, hotwords, "") == first
    # Behind a word it needs its space, behind Chinese and marks it may have none.
    behind = wanted(tokenizer, hotwords, "one")
    assert behind < first
    assert len(behind) == 1
    assert wanted(tokenizer, hotwords, "三") == first


def test_chinese_may_follow_anything(tokenizer, tries):
    hotwords = tries.build('["三八"]', True)
    assert wanted(tokenizer, hotwords, "") == wanted(tokenizer, hotwords, "one") == wanted(tokenizer, hotwords, "零")


def test_the_header_of_an_answer_is_no_text(tokenizer, tries):
    hotwords = tries.build('["two"]', False)
    assert not wanted(tokenizer, hotwords, "language English")
    assert wanted(tokenizer, hotwords, "language English<asr_text>")


def test_a_trie_of_the_largest_request_is_small(tokenizer):
    tries = text.HotwordTries(tokenizer, token_bytes.TokenBytes(tokenizer), 1.0)
    phrases = [f"{number:03d} seven eight nine two"[:20] for number in range(200)]
    tracemalloc.start()
    hotwords = tries.build(json.dumps(phrases), True)
    for token in range(300):
        _ = walked(hotwords, [token, 5, token]).allowances
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept < 8e6


def test_others_requests_share_a_trie_and_nothing_of_an_answer(tokenizer, tries):
    one, two = (biasing.Biasing(tries.build('["two", "three"]', True)) for _ in range(2))
    assert one.hotwords is two.hotwords
    one._walk = one._walk.after(tokenizer.encode("two", add_special_tokens=False).ids[0])
    assert two._walk is two.hotwords.begin() is not one._walk
