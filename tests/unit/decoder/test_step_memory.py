"""What a step takes beside weights and KV cache."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from export.rooms import room
from export.sizing.dimensions import SIZES
from tests.unit.decoder import engine_kit as kit

step_memory, Parameters = room("decoder", "serving.step_memory"), room("decoder", "parameters").Parameters
GB = 2**30
CONFIG = replace(kit.CONFIG, vocab_size=20_000)


def most_allocated(run):
    """Bytes at its most while `run` allocates and frees, as PyTorch's allocator is asked for them."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profiler:
        run()
    now = most = 0
    for event in profiler.profiler.kineto_results.events():
        if event.name() == "[memory]":
            now += event.nbytes()
            most = max(most, now)
    return most


@pytest.mark.parametrize(
    "choice",
    [
        kit.step.PLAIN,
        kit.step.Choice(banned=True),
        kit.step.Choice(temperature=0.5, banned=True),
        kit.step.Choice(watched=np.arange(8)),
        kit.step.Choice(temperature=0.5, banned=True, watched=np.arange(8)),
    ],
    ids=["plain", "banned", "drawn", "watched", "drawn and watched"],
)
def test_no_choice_holds_more_of_its_logits_than_is_counted(choice):
    network = kit.qwen3.Qwen3(CONFIG, kit.decoder_weights(CONFIG), kit.CPU, torch.bfloat16, packed=False)
    rows = kit.picking.CHUNKS[choice.kind]
    picker = kit.picking.Picker(network, rows, frozenset({95}), pinned=False)
    step = kit.step.Step()
    for row in range(rows):
        step.judge(row, choice)
    ((kind, fields),) = step.judged_chunks(kit.picking.CHUNKS)
    judged = picker.judged(step, kind, fields, torch.from_numpy(fields))
    hidden = torch.zeros(rows, CONFIG.hidden_size, dtype=torch.bfloat16)
    with torch.inference_mode():
        most = most_allocated(lambda: picker._pick(hidden, judged))
    counted = step_memory.judged_bytes(CONFIG, 2)
    assert most < counted
    if choice.kind is kit.step.Kind.PLAIN:
        assert most > 0.75 * counted


def test_steps_and_their_recordings_are_counted():
    """The 0.6B with 4,096 rows: 0.4 GB of logits, as much in the recordings' own memory, and some of
    activations."""
    parameters = Parameters.from_texts({"max_step_tokens": "4096", "max_running": "128", "cuda_graphs": "on"})
    dimensions = SIZES["0.6b"].decoder
    taken = step_memory.step_bytes(parameters, dimensions, 2)
    assert 1.0 * GB < taken < 1.6 * GB
    eager = step_memory.step_bytes(replace(parameters, cuda_graphs=False), dimensions, 2)
    logits = step_memory.judged_bytes(dimensions, 2)
    assert 40 <= (taken - eager - logits) / step_memory.SHAPE_BYTES <= 60
    assert taken - step_memory.step_bytes(parameters, dimensions, 2, drafts=True) == logits
    assert step_memory.layer_bytes(dimensions, 4_096, 2) < eager


def test_without_flash_attention_masks_are_counted_and_recordings_are_not():
    attention = room("decoder", "network.attention")
    assert step_memory.ROWS_TOGETHER == attention.ROWS_TOGETHER
    parameters = Parameters.from_texts({"device": "cuda"})
    dimensions, rows = SIZES["0.6b"].decoder, parameters.max_step_tokens
    longest = room("decoder", "serving.budget").TOKENS_OF_LONGEST
    taken = step_memory.step_bytes(parameters, dimensions, 2, has_flash=False)
    plain = step_memory.step_bytes(replace(parameters, cuda_graphs=False), dimensions, 2)
    masks = attention.causal_masks([0, rows], [longest], 2, torch.device("meta"))
    in_use = 2 * 2 * masks[-1].numel()
    assert 0.8 < (sum(mask.numel() for mask in masks) + in_use) / (taken - plain) <= 1.0


def test_an_aligners_masks_are_counted():
    attention, rows = room("decoder", "network.attention"), 12_288
    counted = [step_memory.one_pass_bytes(SIZES["0.6b"].decoder, rows, 2, has_flash=one) for one in (False, True)]
    masks = attention.causal_masks([0, rows], [rows], 2, torch.device("meta"))
    in_use = 2 * 2 * masks[-1].numel()
    assert sum(mask.numel() for mask in masks) + in_use == counted[0] - counted[1]
