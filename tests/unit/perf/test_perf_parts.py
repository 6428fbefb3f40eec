"""What benchmarks compute: scores, percentiles, searches, the cost model."""

import asyncio
import json
import shlex
from argparse import Namespace

import numpy as np
import pytest

from export.speech import Spoken
from perf.loads.accuracy import Answer, groups, report, score
from perf.loads.analyzer import DECOUPLED, MODELS, input_data, options
from perf.loads.capacity import holds, largest
from perf.loads.commands import compare, plan
from perf.loads.hearing import Streams
from perf.loads.load import Load, table
from perf.loads.revisions import revised
from perf.planning import cost_model
from tests.conftest import ROOT


def spoken(tmp_path, *texts, language=None):
    return [Spoken(tmp_path / f"{number}.wav", text, language) for number, text in enumerate(texts)]


def test_errors_are_counted_by_kind(tmp_path):
    speech = spoken(tmp_path, "one two three", "four five", "six")
    found = score(speech, ["one three", "four nine five", "seven"], "none", by_character=False)
    assert (found.substitutions, found.deletions, found.insertions, found.length) == (1, 1, 1, 6)
    assert found.rate == pytest.approx(0.5)
    assert found.low <= found.rate <= found.high
    assert found.worst[0][1:] == ("2.wav", "six", "seven")
    right = score(speech, [one.text for one in speech], "none", by_character=False)
    assert (right.rate, right.low, right.high, right.worst) == (0, 0, 0, [])


def test_chinese_is_counted_by_character(tmp_path):
    found = score(spoken(tmp_path, "三八零二六", language="Chinese"), ["三八二六"], "basic", by_character=True)
    assert (found.deletions, found.length) == (1, 5)


def test_clips_without_texts_are_left_out(tmp_path):
    found = score(spoken(tmp_path, "one", None), ["one", "noise"], "none", by_character=False)
    assert (found.clips, found.rate) == (1, 0)
    with pytest.raises(ValueError, match="no clip has a text"):
        score(spoken(tmp_path, None), ["x"], "none", by_character=False)


def test_words_where_nothing_was_said_are_insertions(tmp_path):
    found = score(spoken(tmp_path, "", "one two"), ["hello you", "one two"], "none", by_character=False)
    assert (found.insertions, found.length) == (2, 2)


def test_the_report_has_a_row_for_each_way_and_language(tmp_path):
    speech = spoken(tmp_path, "one two", language="English") + spoken(tmp_path, "三八", language="Chinese")
    answers = {
        "offline": [Answer("one two", "English"), Answer("三八", "Chinese")],
        "live": [Answer("one", "English", None, 0.5, 4, 1), Answer("", None, "it failed")],
    }
    rows, notes = report(speech, answers, "basic")
    assert [(row["way"], row["language"], row["unit"]) for row in rows] == [
        ("offline", "English", "WER"),
        ("offline", "Chinese", "CER"),
        ("live", "English", "WER"),
        ("live", "Chinese", "CER"),
    ]
    assert rows[0]["error_rate"] == "0.00 %"
    assert rows[2]["error_rate"] == "50.00 %"
    assert "75.00 % of words kept" in notes
    assert "1 clips failed, first: it failed" in notes
    assert list(groups(speech)) == [("English", False), ("Chinese", True)]


def test_revised_words_are_those_after_the_first_difference():
    assert revised([], ["one"]) == 0
    assert revised(["one", "two"], ["one", "two", "three"]) == 0
    assert revised(["one", "two", "three"], ["one", "too", "three"]) == 2
    assert revised(["one", "two"], ["one"]) == 1


def test_a_load_can_be_read_at_any_time():
    load = Load()
    assert load.row()["p50_ms"] is None
    load.latencies, load.seconds, load.audio_seconds = [0.1, 0.2, 0.3], 2.0, 30.0
    row = load.row()
    assert row["p50_ms"] == pytest.approx(200)
    assert (row["requests_per_s"], row["rtfx"]) == (1.5, 15.0)
    lines = table([row]).splitlines()
    assert len(lines) == 3
    assert lines[2].count("|") == lines[0].count("|")
    assert "-" in lines[2]


def test_a_stream_that_lost_a_final_does_not_hold():
    found = Streams(streams=2, partial=[0.1] * 20, final=[0.2], spoken=1)
    assert holds(found.row(), 500)
    assert not holds(found.row(), 50)
    found.spoken = 2
    assert found.row()["dropped"] == 1
    assert not holds(found.row(), 500)
    assert not holds(Streams().row(), 500)


@pytest.mark.parametrize("limit", [0, 1, 7, 8, 50, 333])
def test_the_search_finds_the_limit_to_a_tenth(limit):
    asked = []

    async def measured(count):
        asked.append(count)
        return {"streams": count}

    best, rows = asyncio.run(largest(measured, lambda row: row["streams"] <= limit, 512))
    assert best <= limit <= best + max(1, best // 10)
    assert len(asked) == len(set(asked)) < 14
    assert [row["streams"] for row in rows] == sorted(asked)


@pytest.mark.parametrize("limit", [0, 1, 3, 30, 41, 50, 63, 200, 600])
@pytest.mark.parametrize("first", [1, 40, 512])
def test_a_search_that_begins_near_the_limit_goes_by_smaller_steps(limit, first):
    asked = []

    async def measured(count):
        asked.append(count)
        return {"streams": count}

    best, _ = asyncio.run(largest(measured, lambda row: row["streams"] <= limit, 512, first=first, step=1.25))
    limit = min(limit, 512)
    assert best <= limit <= best + max(1, best // 10)
    assert asked[0] == first
    assert len(asked) == len(set(asked))
    if first == 40 and 30 <= limit <= 63:
        assert len(asked) <= 6


@pytest.mark.parametrize("model", MODELS)
def test_perf_analyzers_inputs_have_the_tensors_shapes(model):
    rng = np.random.default_rng(0)
    clips = [rng.standard_normal(size).astype(np.float32) / 10 for size in (20_000, 150_000)]
    data = json.loads(json.dumps(input_data(model, clips, width=8)))["data"]
    steps = [step for sequence in data for step in sequence] if model == "asr_stream" else data
    for step in steps:
        for tensor in step.values():
            assert len(tensor["content"]) == np.prod(tensor["shape"])
    if model == "asr_stream":
        assert [len(sequence) for sequence in data] == [3, 19]
        assert sum(step["PCM"]["shape"][0] for step in steps) == 170_000
    if model == "encoder":
        assert {tuple(step["MEL"]["shape"]) for step in steps} == {(128, 800)}
    if model in ("decoder",):
        assert [step["EMBEDDINGS"]["shape"] for step in steps] == [[1, 104, 8], [2, 104, 8]]
        assert all(isinstance(value, int) for step in steps for value in step["FRAMES"]["content"])
    assert set(DECOUPLED) <= set(MODELS)


@pytest.mark.parametrize("model", ["asr", "asr_stream"])
def test_the_readme_shows_perf_analyzers_lines_with_the_options_that_are_used(model):
    text = (ROOT / "perf" / "README.md").read_text().replace("\\\n    ", "")
    line = next(line for line in text.splitlines() if f"perf_analyzer -m {model} " in line)
    assert line.endswith(shlex.join(options(model, 3_000)))
    assert f"--input-data perf/out/inputs/{model}.json" in line
    assert f"python -m perf analyzer {model} " in text


def test_the_simulation_waits_longer_under_more_load():
    delays = [cost_model.simulate(count, 0.01, 0.005, 0.45) for count in (1, 16, 64, 128)]
    assert delays == sorted(delays)
    assert delays[0] == pytest.approx(0.015, abs=0.005)
    # Beyond the limit steps coalesce: a round over all streams, and not a queue without an end.
    assert delays[-1] < 3 * (0.01 + 128 * 0.005)


def test_the_simulated_capacity_is_within_the_bound():
    best = cost_model.capacity(0.01, 0.005, 0.45, 0.2)
    assert cost_model.simulate(best, 0.01, 0.005, 0.45) <= 0.2
    assert cost_model.simulate(best + 1, 0.01, 0.005, 0.45) > 0.2


def test_a_fit_finds_what_the_points_were_made_with():
    fixed, each = cost_model.fit([(count, 0.01 + 0.004 * count) for count in (1, 4, 16)])
    assert fixed == pytest.approx(0.01)
    assert each == pytest.approx(0.004)
    # What cannot be below nothing is not.
    assert cost_model.fit([(1, 0.004), (4, 0.02), (16, 0.09)])[0] == 0


def test_a_plan_from_measured_rates(capsys):
    # A run of 10 ms and 4 ms a stream, as perf_analyzer tells it: steps a second by how many are asked for at a time.
    measured = [f"{count}:{count / (0.01 + 0.004 * count)}" for count in (1, 4, 16)]
    assert plan(Namespace(measured=measured, interval_ms=500.0, bound_ms=500.0, streams=300, json=None)) == 0
    printed = capsys.readouterr().out
    foreseen = cost_model.capacity(0.01, 0.004, 0.5, 0.5)
    assert f"| 10 | 4 | {foreseen} | {-(-300 // foreseen)} |" in printed
    with pytest.raises(ValueError, match="16=9"):
        plan(Namespace(measured=["16=9"], interval_ms=500.0, bound_ms=500.0, streams=300, json=None))


def test_two_files_of_figures_are_compared(tmp_path, capsys):
    before, after = tmp_path / "before.json", tmp_path / "after.json"
    before.write_text(json.dumps({"a": 1.0, "b": 2.0, "c": 0, "name": "x", "machine.cores": 2, "only": 1}))
    after.write_text(json.dumps({"a": 1.1, "b": 1.0, "c": 0, "name": "y", "machine.cores": 64}))
    arguments = Namespace(before=before, after=after, within=0.15, all=False)
    assert compare(arguments) == 1
    printed = capsys.readouterr().out
    assert "| b | 2 | 1 | -100 % |" in printed
    assert "| a |" not in printed
    assert "1 of 3 figures are more than 15 % apart" in printed
    assert compare(Namespace(before=before, after=before, within=0.15, all=True)) == 0
