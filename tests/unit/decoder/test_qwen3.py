import pytest
import torch
from transformers import Qwen3Config
from transformers.models.qwen3 import Qwen3Model

from tests.unit.decoder import engine_kit as kit


@pytest.fixture(scope="module")
def reference():
    config = Qwen3Config(
        vocab_size=kit.CONFIG.vocab_size,
        hidden_size=kit.CONFIG.hidden_size,
        intermediate_size=kit.CONFIG.intermediate_size,
        num_hidden_layers=kit.CONFIG.num_hidden_layers,
        num_attention_heads=kit.CONFIG.num_attention_heads,
        num_key_value_heads=kit.CONFIG.num_key_value_heads,
        head_dim=kit.CONFIG.head_dim,
        rope_theta=kit.CONFIG.rope_theta,
        rope_parameters={"rope_type": "default", "rope_theta": kit.CONFIG.rope_theta},
    )
    model = Qwen3Model(config).eval()
    model.load_state_dict(kit.decoder_weights(kit.CONFIG))
    return model


def span(row, length, position, kv_start):
    return kit.layout.Span(row, length, position, kv_start)


def laid(*spans):
    groups = kit.CONFIG.num_attention_heads // kit.CONFIG.num_key_value_heads
    return kit.layout.Layout.of(spans, groups, kit.CPU, torch.float32)


@torch.inference_mode()
def test_one_pass_equals_transformers(reference):
    ids = torch.randint(0, 90, (37,))
    net = kit.network()
    expected = reference(ids[None]).last_hidden_state[0]
    torch.testing.assert_close(
        net.forward(net.embed(ids), laid(span(0, 37, 0, 0)), kit.cache()), expected, atol=2e-5, rtol=0
    )


@torch.inference_mode()
def test_chunks_and_ragged_batches_equal_one_pass(reference):
    """Two prompts, one by chunks of 7 and the other by 1, in the same steps."""
    net, cache = kit.network(), kit.cache()
    first, second = torch.randint(0, 90, (28,)), torch.randint(0, 90, (4,))
    rows = {0: [], 1: []}
    for step in range(4):
        parts = [first[step * 7 : step * 7 + 7], second[step : step + 1]]
        spans = laid(span(0, 7, step * 7, 100), span(7, 1, step, 0))
        hidden = net.forward(net.embed(torch.cat(parts)), spans, cache)
        rows[0].append(hidden[:7])
        rows[1].append(hidden[7:])
    for ids, parts in ((first, rows[0]), (second, rows[1])):
        torch.testing.assert_close(torch.cat(parts), reference(ids[None]).last_hidden_state[0], atol=2e-5, rtol=0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rope_parameters": {"rope_type": "yarn"}}, "rotary positions"),
        ({"use_sliding_window": True}, "sliding window"),
        ({"vocab_size": None}, "vocab_size"),
    ],
)
def test_other_networks_are_refused(change, message):
    config = {
        "vocab_size": 1, "hidden_size": 1, "num_hidden_layers": 1, "num_attention_heads": 1,
        "num_key_value_heads": 1, "intermediate_size": 1,
    }  # fmt: skip
    config.update(change)
    config = {key: value for key, value in config.items() if value is not None}
    with pytest.raises(ValueError, match=message):
        kit.qwen3.Qwen3Config.from_text_config(config)
