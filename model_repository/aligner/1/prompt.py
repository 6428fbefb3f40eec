"""The one sequence that an aligner reads: the audio, then every word with two tokens, whose rows tell start and end."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

logger = logging.getLogger(__name__)

AUDIO_PAD = "<|audio_pad|>"
TIMESTAMP = "<timestamp>"
# As the original package writes it, whose checkpoints have the recognizer's chat template beside them.
BEFORE, BEHIND_WORD = f"<|audio_start|>{AUDIO_PAD}<|audio_end|>", TIMESTAMP * 2
# Stand for words in a template that is tried.
FIRST, SECOND = "\ue000a", "\ue000b"


@dataclass(frozen=True)
class Sequence:
    """ids: int32 [T], of a token its id, of row i of the audio -1 - i; times: int64 [2 W], the rows that tell times."""

    ids: NDArray[np.int32]
    times: NDArray[np.int64]


class PromptBuilder:
    def __init__(self, tokenizer: Tokenizer, template: str | None, timestamp_id: int) -> None:
        """template: the checkpoint's chat template. Raises ValueError where the tokenizer is none of an aligner."""
        self._tokenizer = tokenizer
        self._timestamp_id = timestamp_id
        self._audio_pad_id = tokenizer.token_to_id(AUDIO_PAD)
        if tokenizer.token_to_id(TIMESTAMP) != timestamp_id or self._audio_pad_id is None:
            raise ValueError(f"the tokenizer does not know {TIMESTAMP} and {AUDIO_PAD} as an aligner's does")
        self._before, self._between, self._after = _pieces(template)

    def build(self, words: list[str], num_rows: int) -> Sequence:
        """num_rows: of the audio."""
        text = self._before + self._between.join(words) + self._after
        ids = np.array(self._tokenizer.encode(text, add_special_tokens=False).ids, dtype=np.int32)
        (place,) = np.flatnonzero(ids == self._audio_pad_id)
        heard = np.arange(-1, -1 - num_rows, -1, dtype=np.int32)
        ids = np.concatenate([ids[:place], heard, ids[place + 1 :]])
        return Sequence(ids, np.flatnonzero(ids == self._timestamp_id))


def _pieces(template: str | None) -> tuple[str, str, str]:
    """What stands before the first word, between two, and behind the last one."""
    if template is not None:
        try:
            rendered = _render(template)
            before, _, rest = rendered.partition(FIRST)
            between, _, after = rest.partition(SECOND)
            if before.count(AUDIO_PAD) == 1 and between.count(TIMESTAMP) == after.count(TIMESTAMP) == 2:
                return before, between, after
        except Exception as error:
            logger.warning("the aligner's chat template failed (%s); the built-in prompt is used", error)
    return BEFORE, BEHIND_WORD, BEHIND_WORD


def _render(template: str) -> str:
    # jinja2 comes with torch.
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    words = [{"type": "text", "text": word} for word in (FIRST, SECOND)]
    messages = [{"role": "user", "content": [{"type": "audio", "audio": ""}, *words]}]
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(template).render(messages=messages, add_generation_prompt=False)
