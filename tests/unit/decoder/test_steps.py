"""Steps as the device runs them: planned on the host, filled up to fixed shapes, one on its way while the next
begins."""

import random

import numpy as np
import pytest
import torch

from tests.unit.decoder import engine_kit as kit

attention, step_room, shapes_room = kit.attention, kit.step, kit.shapes


def ragged(lengths, pasts, heads=4, kv_heads=2, width=8, dtype=torch.float32, seed=0):
    """Arguments of the operator for sequences of so many rows after so many tokens, in extents in any order."""
    rng = torch.Generator().manual_seed(seed)
    total = sum(lengths)
    starts, free = [], 3
    for length, past in zip(lengths, pasts, strict=True):
        starts.append(free)
        free += length + past + 2
    # The arena's order is not the step's.
    starts = [free - start - length - past for start, length, past in zip(starts, lengths, pasts, strict=True)]
    arena = [torch.randn(free + 4, kv_heads, width, generator=rng).to(dtype) for _ in range(2)]
    row_starts = np.concatenate([[0], np.cumsum(lengths)]).tolist()
    kv_lengths = [length + past for length, past in zip(lengths, pasts, strict=True)]
    masks = attention.causal_masks(row_starts, kv_lengths, heads // kv_heads)
    int32 = [torch.tensor(values, dtype=torch.int32) for values in (row_starts, [*starts, 0], kv_lengths)]
    query = torch.randn(total, heads, width, generator=rng).to(dtype)
    return (query, *arena, *int32, masks, max(lengths), max(kv_lengths), 0)


def by_hand(query, keys, values, row_starts, kv_starts, kv_lengths, *_):
    """Attention as it is defined, a row and a head at a time."""
    out = torch.empty_like(query)
    groups = query.shape[1] // keys.shape[1]
    for index, length in enumerate(kv_lengths.tolist()):
        first, after = row_starts[index : index + 2].tolist()
        start = int(kv_starts[index])
        for row in range(first, after):
            seen = slice(start, start + length - (after - 1 - row))
            for head in range(query.shape[1]):
                k, v = keys[seen, head // groups], values[seen, head // groups]
                weights = torch.softmax(k @ query[row, head] / query.shape[2] ** 0.5, dim=0)
                out[row, head] = weights @ v
    return out


@pytest.mark.parametrize("kernel", ["by_sequence", "operator"])
@pytest.mark.parametrize(
    ("lengths", "pasts"),
    [([1], [0]), ([1, 1, 1], [0, 5, 40]), ([7], [0]), ([5, 1, 3], [9, 0, 30]), ([1, 12, 1, 2], [3, 3, 3, 3])],
)
def test_every_kernel_is_causal_from_the_end_in_any_order_of_extents(kernel, lengths, pasts):
    arguments = ragged(lengths, pasts)
    run = attention.ragged_attention if kernel == "operator" else getattr(attention, kernel)
    torch.testing.assert_close(run(*arguments), by_hand(*arguments), atol=1e-5, rtol=1e-5)


@pytest.mark.gpu
@pytest.mark.parametrize(("lengths", "pasts"), [([1, 1, 1], [0, 5, 400]), ([300, 1, 3, 64], [9, 0, 30, 1_000])])
@pytest.mark.parametrize("splits", [0, 1])
def test_flash_attention_is_the_reference(lengths, pasts, splits):
    arguments = ragged(lengths, pasts, heads=16, kv_heads=8, width=128, dtype=torch.bfloat16)
    on_gpu = [a.cuda() if isinstance(a, torch.Tensor) else a for a in arguments[:6]]
    got = attention.ragged_attention(*on_gpu, [], *arguments[7:9], splits)
    torch.testing.assert_close(
        got.cpu().float(), by_hand(*[a.float() for a in arguments[:3]], *arguments[3:6]), atol=0.02, rtol=0.02
    )


def test_compilers_and_counters_see_one_operation():
    arguments = ragged([3, 1], [4, 5])
    meta = [a.to("meta") if isinstance(a, torch.Tensor) else a for a in arguments]
    assert attention.ragged_attention(*meta).shape == arguments[0].shape
    torch.library.opcheck(attention.ragged_attention.default, arguments, test_utils="test_schema")


def random_step(rng, decode=False):
    step = step_room.Step()
    for index in range(rng.randint(1, 6)):
        length = 1 if decode else rng.choice([1, 1, 2, 9, 30])
        position = rng.randint(0, 40)
        step.add(np.array([rng.randrange(90) for _ in range(length)], dtype=np.int32), position, 200 * index)
        step.judge(step.num_rows - 1)
    return step


@pytest.mark.parametrize("decode", [True, False])
def test_filling_a_step_up_to_a_shape_changes_nothing(decode):
    """With the reference of the CUDA kernel, which has nothing but the arguments of a recorded step."""
    rng = random.Random(1)
    network = kit.network()
    for _ in range(20):
        step = random_step(rng, decode)
        told = []
        for shapes in (None, shapes_room.Shapes([1, 2, 4], 192, 8)):
            network.attention = kit.with_flash_attentions_arguments
            torch.manual_seed(0)
            cache = kit.cache(1_500)
            for arena in (cache._keys, cache._values):
                arena.copy_(torch.randn(arena.shape, generator=torch.Generator().manual_seed(3)))
            made = kit.runner.StepRunner(network, cache, 192, 8, shapes=shapes)
            with torch.inference_mode():
                told.append(made.launch(step).tokens())
            assert made.counters.fixed == (shapes is not None)
        assert told[0][0] == told[1][0]
        np.testing.assert_allclose(told[0][1], told[1][1], atol=1e-4)


def test_every_step_within_the_bounds_has_a_shape_that_is_not_much_larger():
    shapes = shapes_room.Shapes([1, 2, 4, 8, 16, 32, 64, 128], 4_096, 128)
    assert len(list(shapes)) < 70
    assert [*shapes] == sorted(shapes, reverse=True)
    rng = random.Random(0)
    for _ in range(2_000):
        sequences = rng.randint(1, 128)
        lengths = [1] * sequences
        for _ in range(rng.randint(0, 40)):
            lengths[rng.randrange(sequences)] += rng.choice([1, 10, 100, 300])
        rows = sum(lengths)
        if rows > 4_096:
            continue
        shape = shapes.fit(rows, sequences, max(lengths), rng.randint(1, 5_000), has_audio=False)
        assert shape.rows >= rows
        assert shape.sequences >= sequences
        assert shape.most_rows >= max(lengths)
        assert shape.rows <= 2 * rows if rows <= 64 or shape.is_decode else 1.5 * rows
    assert shapes.fit(5_000, 1, 5_000, 5_000, has_audio=True) is None


def test_draws_follow_the_probabilities_and_no_token_that_ends():
    choosing = kit.choosing
    logits = torch.log(torch.tensor([0.5, 0.3, 0.2, 1e-9])).repeat(20_000, 1)
    numbers = torch.arange(20_000)
    is_end = torch.tensor([False, True, False, False])

    def drawn(temperature, banned, seed=5):
        full = torch.full((20_000,), temperature)
        draws = choosing.Draws(full, torch.full_like(numbers, seed), numbers, torch.full((20_000,), banned))
        tokens, logprobs = choosing.choose(logits, draws, is_end)
        torch.testing.assert_close(
            logprobs, torch.log_softmax(logits, -1).gather(1, tokens[:, None])[:, 0].clamp(max=0)
        )
        return torch.bincount(tokens, minlength=4) / 20_000

    torch.testing.assert_close(drawn(1.0, False), torch.tensor([0.5, 0.3, 0.2, 0.0]), atol=0.02, rtol=0)
    hotter = torch.tensor([0.5, 0.3, 0.2, 1e-9]) ** 0.5
    torch.testing.assert_close(drawn(2.0, False), hotter / hotter.sum(), atol=0.02, rtol=0)
    torch.testing.assert_close(drawn(1.0, True), torch.tensor([5 / 7, 0, 2 / 7, 0]), atol=0.02, rtol=0)
    assert drawn(1e-9, False).tolist() == [1.0, 0, 0, 0]
    assert drawn(0.0, False).tolist() == [1.0, 0, 0, 0]
    assert drawn(1.0, False, seed=6).tolist() != drawn(1.0, False).tolist()


def test_noise_is_finite_whatever_the_seed():
    seeds = torch.tensor([0, 1, -1, 2**63 - 1, -(2**63)])
    noise = kit.choosing.gumbel(seeds, torch.arange(5), 200_000)
    assert torch.isfinite(noise).all()
    assert float(noise.mean()) == pytest.approx(0.5772, abs=0.01)
    assert len({tuple(row.tolist()[:8]) for row in noise}) == 5
