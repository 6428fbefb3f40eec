"""Matrices laid out for oneDNN give what `linear` gives, alone and in the engine."""

import pytest
import torch
from torch.nn import functional

from export.rooms import room
from tests.unit.decoder import engine_kit as kit

products = room("decoder", "network.products")


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.bfloat16, 0.25)])
def test_a_packed_matrix_gives_what_linear_gives(dtype, tolerance):
    torch.manual_seed(0)
    weight = torch.randn(1025, 515, dtype=dtype)
    assert products.packable(weight)
    packed = products.product(weight)
    for rows in (1, 2, 3, 4, 7, 16, 31, 64, 130):
        x = torch.randn(rows, 515, dtype=dtype)
        found = packed(x)
        assert found.shape == (rows, 1025)
        assert found.dtype == dtype
        torch.testing.assert_close(found, functional.linear(x, weight), atol=tolerance, rtol=0.02)


def test_rows_that_are_part_of_a_larger_tensor_are_taken_as_they_are():
    weight = torch.randn(1024, 512)
    x = torch.randn(20, 1024)[::2, 256:768]
    torch.testing.assert_close(products.product(weight)(x), functional.linear(x, weight), atol=1e-4, rtol=1e-4)


def test_what_would_not_gain_stays_as_it_is():
    large = torch.randn(1024, 1024)
    assert not products.packable(torch.randn(64, 64))
    assert not products.packable(large.half())
    assert not products.packable(large.to("meta"))
    assert not products.packable(torch.nn.Parameter(large, requires_grad=False))
    x = torch.randn(3, 1024)
    assert torch.equal(products.product(large, packed=False)(x), functional.linear(x, large))


def test_the_engine_answers_the_same_with_packed_matrices(monkeypatch):
    def answers():
        made = kit.make_engine(draft_seed=1)
        try:
            return kit.run(made, [kit.make_sequence(seed, num_audio=10 + 7 * seed) for seed in range(8)])
        finally:
            made.stop()

    plain = answers()
    monkeypatch.setattr(products, "PACKED_FROM", 0)
    assert kit.qwen3.product is products.product
    packed = answers()
    assert packed == plain
