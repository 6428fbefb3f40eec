"""A smaller network that guesses the next tokens of every running sequence, for the large one to verify in one pass."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from ..network.runner import StepRunner
from ..network.step import Step
from .planner import add_rows
from .sequence import Sequence


class Speculator:
    """The draft network and its own KV cache; owned by the engine's thread alone.

    It has seen the same prompt with its own embeddings of the audio, so its keys and values lie at the same places of
    its own arena as the large network's do in theirs: a sequence's extent counts for both.
    """

    def __init__(self, runner: StepRunner, num_tokens: int, end_ids: frozenset[int], max_rows: int) -> None:
        """runner: of the draft network and its cache. num_tokens: guesses at a time. max_rows: rows of one pass; longer
        prompts are taken in by several turns."""
        if num_tokens < 1:
            raise ValueError("draft_tokens must be at least 1")
        self._runner = runner
        self._num_tokens = num_tokens
        self._end_ids = end_ids
        self._max_rows = max_rows

    @property
    def cpu_seconds(self) -> float:
        """Processor time of the engine's thread, spent in the draft network."""
        return self._runner.counters.cpu_seconds

    def propose(self, sequences: Iterable[Sequence]) -> None:
        """Give a draft to those that decode and have none; the others stay as they are."""
        caught_up = self._catch_up([one for one in sequences if self._wants(one)])
        if not caught_up:
            return
        tokens = [token for _, token in caught_up]
        active = [sequence for sequence, _ in caught_up]
        proposed: dict[int, list[int]] = {sequence.number: [] for sequence in active}
        for step in range(self._num_tokens):
            going = []
            for sequence, token in zip(active, tokens, strict=True):
                if token in self._end_ids:
                    continue
                proposed[sequence.number].append(token)
                if len(proposed[sequence.number]) < self._longest(sequence):
                    going.append((sequence, token))
            if not going or step == self._num_tokens - 1:
                break
            active = [sequence for sequence, _ in going]
            tokens = self._next(active, [token for _, token in going])
        for sequence, _ in caught_up:
            sequence.offer(proposed[sequence.number])

    def _wants(self, sequence: Sequence) -> bool:
        return (
            sequence.draft_audio is not None
            and sequence.num_pending == 1
            and not sequence.draft
            and self._longest(sequence) > 0
        )

    def _longest(self, sequence: Sequence) -> int:
        """Guesses that could be accepted: the large network adds one of its own to them."""
        return min(self._num_tokens, sequence.params.max_new_tokens - len(sequence.output_ids) - 1)

    def _catch_up(self, sequences: list[Sequence]) -> list[tuple[Sequence, int]]:
        """Take in what is known and was not yet seen here; returns those that are done, and their next tokens."""
        step, done = Step(), []
        for sequence in sequences:
            start = sequence.draft_computed
            length = min(sequence.num_tokens - start, self._max_rows - step.num_rows)
            if length <= 0:
                # All of it is seen already, where the last step left it out; or there is no more room.
                continue
            add_rows(step, sequence, start, length, sequence.draft_audio)
            sequence.draft_computed += length
            if sequence.draft_computed == sequence.num_tokens:
                step.judge(step.num_rows - 1)
                done.append(sequence)
        if not step.num_rows:
            return []
        likeliest, _ = self._runner.launch(step).tokens()
        return list(zip(done, likeliest, strict=True))

    def _next(self, sequences: list[Sequence], tokens: list[int]) -> list[int]:
        """Take in one guess of each sequence; returns the next ones."""
        step = Step()
        for row, (sequence, token) in enumerate(zip(sequences, tokens, strict=True)):
            assert sequence.extent is not None
            step.add(np.array([token], dtype=np.int32), sequence.draft_computed, sequence.extent.start)
            step.judge(row)
            sequence.draft_computed += 1
        return self._runner.launch(step).tokens()[0]
