"""Matrices laid out anew, in whatever format, give what `linear` gives, alone and in the engine."""

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


SHAPES = [(1, 1), (3, 5), (77, 33), (64, 48), (32, 96), (1024, 512), (1025, 515)]
ROWS = (1, 2, 3, 4, 7, 16, 31, 47, 48, 49, 64, 130, 200)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_eight_bits_give_what_their_weights_give_unpacked(shape, dtype, monkeypatch):
    # Several parts, the last of them smaller.
    monkeypatch.setattr(products, "UNPACKED_WEIGHTS", 100 * shape[1])
    torch.manual_seed(0)
    weight = torch.randn(shape) * torch.logspace(-3, 1, shape[0])[:, None]
    matrix = products.Int8Matrix(weight.to(dtype))
    unpacked = matrix.dequantized()
    assert ((unpacked - weight.to(dtype).float()).abs() <= 0.51 * matrix.scale[:, None].float() + 1e-12).all()
    for rows in ROWS:
        x = torch.randn(rows, shape[1]).bfloat16()
        found = products.product(matrix)(x.to(dtype))
        assert found.dtype == dtype
        expected = x.float() @ unpacked.T
        # Sums are rounded to bfloat16 once, and in that dtype once more with the scale.
        largest = (x.float().abs() @ unpacked.abs().T) * 2.0**-7
        assert ((found.float() - expected).abs() <= largest).all()


def test_eight_bits_of_nothing_are_nothing():
    matrix = products.Int8Matrix(torch.zeros(4, 8))
    assert torch.equal(matrix(torch.randn(3, 8)), torch.zeros(3, 4))


HAS_FBGEMM = "fbgemm" in torch.backends.quantized.supported_engines


@pytest.mark.skipif(not HAS_FBGEMM, reason="FBGEMM is for x86")
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("source", [torch.bfloat16, torch.float16])
def test_sixteen_bits_lose_nothing_of_a_checkpoint_that_has_them(shape, source):
    torch.manual_seed(0)
    # Most weights of a network are small, a few tiny.
    weight = (torch.randn(shape) * 0.03 * torch.logspace(0, -5, shape[0])[:, None]).to(source).float()
    half = products.HalfMatrix.lossless(weight)
    assert half is not None
    for rows in ROWS:
        x = torch.randn(rows, shape[1])
        exact = x.double() @ weight.double().T
        bound = (x.double().abs() @ weight.double().abs().T) * shape[1] * 2.0**-24 + 1e-12
        assert ((half(x).double() - exact).abs() <= bound).all()


@pytest.mark.skipif(not HAS_FBGEMM, reason="FBGEMM is for x86")
def test_sixteen_bits_are_only_taken_where_nothing_is_lost():
    torch.manual_seed(0)
    weight = torch.randn(1024, 515)
    assert products.HalfMatrix.lossless(weight) is None
    assert not isinstance(products.product(weight), products.HalfMatrix)
    assert isinstance(products.product(weight.bfloat16().float()), products.HalfMatrix)
    assert not isinstance(products.product(weight.bfloat16()), products.HalfMatrix)


@pytest.mark.skipif(not HAS_FBGEMM, reason="FBGEMM is for x86")
def test_a_row_is_the_same_in_any_company_in_sixteen_bits():
    torch.manual_seed(0)
    half = products.HalfMatrix.lossless(torch.randn(1024, 512).bfloat16().float())
    x = torch.randn(200, 512)
    whole = half(x)
    for first, last in ((0, 1), (5, 9), (199, 200), (100, 130)):
        assert torch.equal(half(x[first:last]), whole[first:last])
