"""Plans for GPUs: what binds, and that newer counts change it."""

import json
from argparse import Namespace

import pytest

from export.sizing.dimensions import SIZES
from export.sizing.gpus import GPUS
from perf.loads.commands import plan
from perf.planning.costs import COSTS, read_costs
from perf.planning.limits import MODELS, LiveLoad, clips, host, streams

LOAD = LiveLoad()
# As a decoder that launches every kernel of every sequence by itself was counted.
EAGER = {
    "decoder.kernels_1x1": 1_334,
    "decoder.kernels_64x1": 20_739,
    "decoder.kernels_64x110": 29_722,
    "decoder.graph_share_live": 0.0,
}


@pytest.fixture
def recorded(tmp_path):
    """What is kept: a decoder whose steps are all recorded."""
    return read_costs(tmp_path / "none")


@pytest.fixture
def eager(tmp_path):
    (tmp_path / "dispatch.json").write_text(json.dumps(EAGER))
    return read_costs(tmp_path)


def test_every_figure_has_a_source():
    for name, one in json.loads(COSTS.read_text()).items():
        assert one["source"], name
        assert one["again"] or one["source"].startswith("assumed"), name


def test_newer_figures_take_the_place_of_kept_ones(recorded, eager, tmp_path):
    assert recorded["kernels_64x110"] < 1_000
    assert eager["kernels_64x110"] == 29_722
    told = {row["figure"]: row["source"] for row in eager.told}
    assert told["graph_share"] == "perf/results/dispatch.json, decoder.graph_share_live"
    (tmp_path / "live.json").write_text(json.dumps({"live.cpu_ms_per_stream_s_asr_stream": 1.25}))
    assert read_costs(tmp_path)["asr_stream_ms"] == 1.25


def test_what_is_kept_is_what_was_counted_last(recorded):
    for name in ("kernels_one", "kernels_64x1", "kernels_64x110", "graph_share"):
        assert recorded[name] == pytest.approx(read_costs()[name], rel=0.02), name


def test_launches_bind_an_eager_decoder_and_no_recorded_one(recorded, eager):
    held = streams(GPUS["rtx4090"], SIZES["0.6b"], LOAD, eager)
    assert held.limit == "a step: launches" or held.limit == "launches"
    assert recorded.launch_s(64, rows=110) < eager.launch_s(64, rows=110) / 50
    assert streams(GPUS["rtx4090"], SIZES["0.6b"], LOAD, recorded).count > 1.5 * held.count


def test_no_card_holds_more_than_its_host(recorded):
    held = streams(GPUS["h200"], SIZES["0.6b"], LOAD, recorded, cores=2)
    assert held.limit == "2 processors"
    assert held.count == held.on_host["2 processors"] == int(2_000 * 2 / 3 / recorded.host_ms)
    assert streams(GPUS["h200"], SIZES["0.6b"], LOAD, recorded, cores=4).count > held.count


def test_processors_bring_processes_but_no_second_decoder(recorded):
    few, many = host(4, recorded), host(64, recorded)
    assert many["process decoder"] == few["process decoder"]
    assert many["process triton_thread"] == few["process triton_thread"]
    assert many["8 processes asr_stream"] == pytest.approx(8 * few["1 processes asr_stream"], abs=8)


def test_a_slow_interpreter_of_the_decoder_binds_the_fastest_card(tmp_path):
    (tmp_path / "live.json").write_text(json.dumps({"live.alone_ms_per_stream_s_decoder": 50.0}))
    held = streams(GPUS["h200"], SIZES["0.6b"], LOAD, read_costs(tmp_path), cores=64)
    assert (held.count, held.limit) == (13, "process decoder")


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_a_faster_card_and_a_smaller_model_are_never_slower(model, recorded):
    slow, fast = GPUS["l4"], GPUS["h100"]
    assert streams(fast, model, LOAD, recorded).count >= streams(slow, model, LOAD, recorded).count > 0
    rates = [clips(slow, model, count, recorded).clips_per_s for count in (1, 8, 16)]
    assert rates == sorted(rates)
    assert clips(fast, model, 8, recorded).clips_per_s > rates[1]
    assert clips(slow, SIZES["0.6b"], 8, recorded).clips_per_s >= rates[1]


def test_a_model_that_does_not_fit_holds_nothing(recorded):
    held = streams(GPUS["t4"], SIZES["1.7b"], LOAD, recorded)
    assert held.alone["GPU memory"] > 0
    small = type(GPUS["t4"])("none", 8_000, 320, 65, "")
    assert streams(small, SIZES["1.7b"], LOAD, recorded).count == 0


def test_the_command_says_what_binds(capsys):
    arguments = Namespace(
        measured=None, interval_ms=450.0, bound_ms=500.0, streams=300, cores=16, json=None, servers=None
    )
    assert plan(arguments) == 0
    printed = capsys.readouterr().out
    assert "| 1.7b | RTX 4090 | 16 |" in printed
    assert "| 65.4 |" in printed
    assert "| model | card | streams | binds |" in printed
    assert "| 16 processors |" in printed
