"""Plans for GPUs: what binds, and that newer counts change it."""

import json
from argparse import Namespace

import pytest

from export.sizing.dimensions import SIZES
from export.sizing.gpus import GPUS
from perf.loads.commands import plan
from perf.planning.costs import COSTS, read_costs
from perf.planning.limits import MODELS, LiveLoad, clips, streams

LOAD = LiveLoad()
# As a decoder whose steps are all recorded would be counted.
GRAPHS = {
    "decoder.kernels_1x1": 500,
    "decoder.kernels_64x1": 520,
    "decoder.kernels_64x110": 520,
    "decoder.graph_share_live": 1.0,
}


@pytest.fixture
def counted(tmp_path):
    return read_costs(tmp_path)


@pytest.fixture
def recorded(tmp_path):
    (tmp_path / "dispatch.json").write_text(json.dumps(GRAPHS))
    return read_costs(tmp_path)


def test_every_figure_has_a_source():
    for name, one in json.loads(COSTS.read_text()).items():
        assert one["source"], name
        assert one["again"] or one["source"].startswith("assumed"), name


def test_newer_counts_take_the_place_of_kept_ones(counted, recorded):
    assert counted["kernels_64x110"] == 29_722
    assert recorded["kernels_64x110"] == 520
    told = {row["figure"]: row["source"] for row in recorded.told}
    assert told["graph_share"] == "perf/results/dispatch.json, decoder.graph_share_live"


def test_launches_bind_an_eager_decoder_and_no_recorded_one(counted, recorded):
    eager = streams(GPUS["rtx4090"], SIZES["0.6b"], LOAD, counted)
    assert eager.limit == "a step: launches" or eager.limit == "launches"
    assert recorded.launch_s(64, rows=110) < counted.launch_s(64, rows=110) / 50
    assert streams(GPUS["rtx4090"], SIZES["0.6b"], LOAD, recorded).count > 1.5 * eager.count


def test_no_card_holds_more_than_one_interpreter_of_asr_stream(recorded):
    held = streams(GPUS["h200"], SIZES["0.6b"], LOAD, recorded)
    assert held.count <= held.alone["process asr_stream"] == 88
    assert held.count == min(held.alone.values()) or held.limit.startswith("a step")


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_a_faster_card_and_a_smaller_model_are_never_slower(model, recorded):
    slow, fast = GPUS["l4"], GPUS["h100"]
    assert streams(fast, model, LOAD, recorded).count >= streams(slow, model, LOAD, recorded).count > 0
    rates = [clips(slow, model, count, recorded).clips_per_s for count in (1, 8, 16)]
    assert rates == sorted(rates)
    assert clips(fast, model, 8, recorded).clips_per_s > rates[1]
    assert clips(slow, SIZES["0.6b"], 8, recorded).clips_per_s >= rates[1]


def test_a_model_that_does_not_fit_holds_nothing(counted):
    held = streams(GPUS["t4"], SIZES["1.7b"], LOAD, counted)
    assert held.alone["GPU memory"] > 0
    small = type(GPUS["t4"])("none", 8_000, 320, 65, "")
    assert streams(small, SIZES["1.7b"], LOAD, counted).count == 0


def test_the_command_says_what_binds(capsys):
    arguments = Namespace(measured=None, interval_ms=450.0, bound_ms=500.0, streams=300, json=None)
    assert plan(arguments) == 0
    printed = capsys.readouterr().out
    assert "| 1.7b | RTX 4090 | 16 |" in printed
    assert "| 65.4 |" in printed
    assert "| model | card | streams | binds |" in printed
