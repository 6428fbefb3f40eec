"""Where FlashAttention is not to be had, sequences attend one by one: on a CPU, on Turing, in float32."""

import numpy as np
import pytest
import torch

from perf.models.counting_device import counting, device
from tests.unit.decoder import engine_kit as kit
from tests.unit.decoder.test_steps import by_hand, ragged

attention = kit.attention


@pytest.mark.parametrize("together", [1, 4, 7, 512])
def test_many_rows_attend_in_parts_and_see_the_same(monkeypatch, together):
    lengths, pasts = [5, 1, 15, 8], [9, 0, 30, 0]
    monkeypatch.setattr(attention, "ROWS_TOGETHER", together)
    arguments = ragged(lengths, pasts)
    masks = arguments[6]
    assert len(masks) == sum(-(-length // together) for length in lengths if length > 1)
    assert max(mask.shape[0] for mask in masks) <= 2 * together
    made_there = *arguments[:6], [], *arguments[7:]
    for given in (arguments, made_there):
        torch.testing.assert_close(attention.by_sequence(*given), by_hand(*arguments), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("capability", "dtype", "expected"),
    [
        ((7, 5), torch.float16, True),
        ((8, 0), torch.float32, True),
        ((8, 0), torch.float16, False),
        ((9, 0), torch.bfloat16, False),
    ],
)
def test_which_gpus_attend_by_sequence(monkeypatch, capability, dtype, expected):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    assert attention.attends_by_sequence(torch.device("cuda", 0), dtype) == expected
    assert attention.attends_by_sequence(kit.CPU, dtype)
    assert not attention.attends_by_sequence(torch.device("meta"), dtype)


def test_masks_are_made_once_a_step_on_the_device_for_all_layers(monkeypatch):
    given = []

    def attends(query, keys, values, row_starts, kv_starts, kv_lengths, masks, *rest):
        given.append(masks)
        return query.clone()

    monkeypatch.setattr(kit.runner, "attends_by_sequence", lambda *_: True)
    monkeypatch.setattr(kit.runner, "ragged_attention", attends)
    with counting():
        network = kit.network(device())
        network.attention = attends
        steps = kit.runner.StepRunner(network, kit.cache(2_000, device()), 1_024, 8)
        step = kit.step.Step()
        for place, rows in enumerate((600, 1, 30)):
            step.add(np.ones(rows, dtype=np.int32), 7, 700 * place)
        step.judge(0)
        steps.launch(step).tokens()
        first, second = given
        assert first is second
        groups = kit.CONFIG.num_attention_heads // kit.CONFIG.num_key_value_heads
        assert [tuple(mask.shape) for mask in first] == [(groups * 512, 519), (groups * 88, 607), (groups * 30, 37)]
        assert {mask.device.type for mask in first} == {device().type}
