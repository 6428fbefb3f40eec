"""Hotwords: phrases that cost little are written, others leave no trace, and nobody else notices."""

from __future__ import annotations

import itertools
import random

import numpy as np
import pytest

from tests.unit.decoder import engine_kit as kit

Phrase = kit.hotwords.Phrase
pytestmark = pytest.mark.usefixtures("way")

NUM_TOKENS = 24


def phrase(number, ids, nats=1.0):
    return Phrase(number, tuple(ids), nats * len(ids))


def plain_answers(seeds):
    made = kit.make_engine()
    try:
        return kit.run(made, [kit.make_sequence(seed) for seed in seeds])
    finally:
        made.stop()


def by_hand(network_scores, phrases, length, ends=(95,)):
    """Decoding with attempts as the docstring tells it, written anew and as plainly as it goes: one token at a time,
    for phrases of which no two begin alike."""
    out, refused, behind = [], set(), (None, None)

    def scores(answer):
        return network_scores(tuple(answer))

    while len(out) < length:
        row = scores(out)
        free = max(range(len(row)), key=lambda token: row[token])
        depth = {}
        for ids, _ in phrases:
            for size in range(len(ids)):
                if size <= len(out) and tuple(out[len(out) - size :]) == tuple(ids[:size]):
                    depth[ids[size]] = max(depth.get(ids[size], -1), size)
        tried = []
        for token, own in depth.items():
            led = 0 if free in ends else depth.get(free, -1)
            if token == free or own <= led or len(refused) >= 16 + len(out) // 2:
                continue
            for ids, allowance in phrases:
                fits = own < len(ids) and ids[own] == token and tuple(out[len(out) - own :]) == tuple(ids[:own])
                again = out == behind[0] and ids == behind[1]
                if fits and not again and row[free] - row[token] <= allowance and len(ids) - own <= length - len(out):
                    tried.append((own, row[token], token, ids[own:], allowance, ids))
        taken = None
        for _, _, token, rest, allowance, start in sorted(tried, reverse=True)[:3]:
            spent, answer = 0.0, list(out)
            for one in rest:
                own_row = scores(answer)
                spent += max(own_row) - own_row[one]
                if spent > allowance:
                    break
                answer.append(one)
            else:
                taken, first = answer, start
                break
            refused.add((len(out), token))
        if taken is not None:
            out, behind = taken, (list(taken), first)
            continue
        if free in ends:
            break
        out.append(free)
    return out


@pytest.fixture(scope="module")
def scored(way):
    """Log-probabilities after an answer's beginning, by the engine itself: every token is watched."""
    made = kit.make_engine()
    memory = {}

    def scores(seed, answer):
        key = seed, answer
        if key not in memory:
            one = kit.make_sequence(seed)
            one.output_ids = list(answer)
            step = kit.step.Step()
            one.extent = made.cache.extents.allocate(one.max_tokens)
            kit_add(step, one)
            step.judge(step.num_rows - 1, kit.step.Choice(watched=np.arange(kit.CONFIG.vocab_size)))
            flight = made.runner.launch(step)
            flight.tokens()
            memory[key] = flight.watched()[0].tolist()
            made.cache.extents.release(one.extent)
        return memory[key]

    yield scores
    made.stop()


def kit_add(step, one):
    planner = kit.room("decoder", "engine.planner")
    planner.add_rows(step, one, 0, one.num_tokens)


def test_a_phrase_within_its_allowance_is_written_and_one_beyond_it_leaves_the_answer_as_it_was(scored):
    (plain,) = plain_answers([3])
    row = scored(3, tuple(plain[:4]))
    order = sorted(range(len(row)), key=lambda token: -row[token])
    other = next(token for token in order if token not in (plain[4], 95) and token not in plain)
    gap = row[plain[4]] - row[other]
    made = kit.make_engine()
    try:
        kept = kit.make_sequence(3, phrases=[Phrase(0, (other,), gap + 1e-3)])
        refused = kit.make_sequence(3, phrases=[Phrase(0, (other,), gap - 1e-3)])
        got = kit.run(made, [kept, refused])
    finally:
        made.stop()
    first = next(place for place, pair in enumerate(itertools.zip_longest(got[0], plain)) if pair[0] != pair[1])
    assert got[0][first] == other
    assert first <= 4
    assert kept.biasing.num_kept >= 1
    if refused.biasing.num_kept == 0:
        assert got[1] == plain


@pytest.mark.parametrize("seed", range(6))
def test_answers_are_what_the_rule_says_by_hand(scored, seed):
    rng = random.Random(seed)
    starts = rng.sample(range(90), 8)
    phrases = [((start, *rng.choices(range(90), k=rng.randint(0, 3))), rng.uniform(0.5, 6.0)) for start in starts]
    expected = by_hand(lambda answer: scored(seed, answer), phrases, NUM_TOKENS)
    made = kit.make_engine()
    try:
        one = kit.make_sequence(seed, phrases=[Phrase(number, *one) for number, one in enumerate(phrases)])
        assert kit.run(made, [one]) == [expected]
    finally:
        made.stop()


def some_phrases(seed):
    rng = random.Random(seed)
    return [phrase(number, rng.choices(range(90), k=rng.randint(1, 4)), rng.uniform(0.3, 2.0)) for number in range(30)]


def test_drafts_chunks_and_neighbours_do_not_change_what_is_written():
    seeds = range(8)
    alone = []
    made = kit.make_engine()
    try:
        for seed in seeds:
            alone += kit.run(made, [kit.make_sequence(seed, phrases=some_phrases(seed))])
    finally:
        made.stop()
    plain = plain_answers(seeds)
    assert alone != plain
    rng = random.Random(1)
    made = kit.make_engine(max_step_tokens=16, draft_seed=5)
    try:
        for _ in range(4):
            drafts = [rng.choice([alone[seed], plain[seed], alone[seed][: rng.randint(0, 20)]]) for seed in seeds]
            biased = [
                kit.make_sequence(seed, phrases=some_phrases(seed), draft=draft, drafted=seed % 2 == 0)
                for seed, draft in zip(seeds, drafts, strict=True)
            ]
            others = [kit.make_sequence(seed) for seed in seeds]
            got = kit.run(made, biased + others)
            assert got[: len(biased)] == alone
            assert got[len(biased) :] == plain
    finally:
        made.stop()
    assert sum(one.biasing.num_given_back for one in biased) > 0
    assert sum(one.biasing.num_kept for one in biased) > 0


def test_what_may_be_taken_back_is_not_told():
    class Watches(kit.Collector):
        def on_finish(self, finished):
            self.final = list(finished.output_ids)
            super().on_finish(finished)

    made = kit.make_engine()
    try:
        asked = [kit.make_sequence(seed, phrases=some_phrases(seed), listener=Watches()) for seed in range(12)]
        got = kit.run(made, asked)
    finally:
        made.stop()
    assert sum(one.biasing.num_given_back for one in asked) > 3
    # Tokens are told once, and those that were told are the answer's.
    assert got == [one.listener.final for one in asked]


def test_a_complete_draft_of_a_biased_answer_costs_one_pass():
    made = kit.make_engine()
    try:
        (answer,) = kit.run(made, [kit.make_sequence(2, phrases=some_phrases(2))])
        steps = made.runner.counters.steps
        again = kit.make_sequence(2, phrases=some_phrases(2), draft=answer)
        assert kit.run(made, [again]) == [answer]
        assert again.num_accepted >= len(answer) - 1 or again.biasing.num_given_back
        assert made.runner.counters.steps - steps <= 1 + 5 * again.biasing.num_given_back + (len(answer) % 24 == 0)
    finally:
        made.stop()


def test_a_temperature_and_hotwords_go_together_and_are_repeatable():
    made = kit.make_engine()
    try:
        asked = [kit.make_sequence(4, phrases=some_phrases(4), temperature=0.8) for _ in range(2)]
        first, second = kit.run(made, asked)
        assert first == second
    finally:
        made.stop()


def test_the_longest_answer_is_no_longer_with_hotwords():
    made = kit.make_engine()
    try:
        for length in range(1, 9):
            (got,) = kit.run(made, [kit.make_sequence(5, max_new_tokens=length, phrases=some_phrases(5))])
            assert len(got) <= length
    finally:
        made.stop()


def guarded(phrases=(), free=7):
    """What a listener is told of an answer that the network loops in: one token is likeliest, whatever came before, the
    first of a phrase nearly as likely, and nothing else."""
    one = kit.make_sequence(0, num_audio=13, max_new_tokens=80, phrases=phrases, repetition_guard=True)
    told, reason = [], ""
    while not reason:
        watched = one.choices(1)[0].watched
        near = [] if watched is None else [-0.6 if token == 50 else -50.0 for token in watched]
        scores = {0: np.array(near, dtype=np.float32)} if near else {}
        reason, _ = kit.acceptance.accept(one, [free], [-0.5], scores, {95})
        shown = max(0, len(one.unshown) - (one.guard.num_held if reason else one.num_held))
        told += [token for token, _ in one.unshown[:shown]]
        del one.unshown[:shown]
    assert reason == "repetition"
    return told, one


def test_an_attempt_lets_nothing_out_that_a_loops_guard_holds():
    plain, _ = guarded()
    told, one = guarded([Phrase(0, (50, 51, 52), 3.0)])
    assert one.biasing.num_given_back > 0
    assert told == plain == [7, 7, 7]
