"""The shipped checkpoints: one tokenizer, small, and as good on people as their card says, give or take chance."""

import random

import pytest

from export.local import LocalAsr
from tests.conftest import TINY, TINY_FAST, WORDS

SPEAKERS = ["george", "jackson", "lucas", "theo", "yweweler"]


def test_both_sizes_share_one_tokenizer():
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "processor_config.json"):
        assert (TINY / name).read_bytes() == (TINY_FAST / name).read_bytes()


def test_they_are_small_and_the_fast_one_smaller():
    sizes = [(folder / "model.safetensors").stat().st_size for folder in (TINY, TINY_FAST)]
    assert sizes[1] < 0.6 * sizes[0] < 2_000_000


@pytest.mark.parametrize(("folder", "most_percent"), [(TINY, 4.0), (TINY_FAST, 4.0)], ids=["tiny", "tiny-fast"])
def test_people_are_understood(human_digits, folder, most_percent):
    rng = random.Random(1)
    strings, clips = [], []
    for number in range(50):
        digits = [rng.randrange(10) for _ in range(rng.randint(2, 7))]
        if number % 5 == 0:
            digits = [digits[0]] * len(digits)
        strings.append([WORDS[digit] for digit in digits])
        clips.append(human_digits(SPEAKERS[number % 5], digits, rng.uniform(0.05, 0.5), take=rng.randrange(5)))
    with LocalAsr(folder) as asr:
        heard = [answer.text.split() for answer in asr.transcribe(clips)]
    errors = sum(edits(expected, words) for expected, words in zip(strings, heard, strict=True))
    assert 100 * errors / sum(map(len, strings)) <= most_percent


def edits(expected, heard):
    """Levenshtein distance between two lists of words."""
    row = list(range(len(heard) + 1))
    for i, word in enumerate(expected, 1):
        previous, row[0] = row[0], i
        for j, other in enumerate(heard, 1):
            previous, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, previous + (word != other))
    return row[-1]
