"""What a step dispatches does not grow with its sequences, and nothing crosses between the devices but what is meant
to."""

from typing import ClassVar

import numpy as np
import pytest
import torch

from perf.models.counting_device import counting, device
from perf.models.random_model import SIZES
from perf.parts import decoder_dispatch
from tests.unit.decoder import engine_kit as kit


@pytest.fixture(scope="module")
def figures():
    return decoder_dispatch.dispatch(SIZES["0.6b"])


def test_a_step_is_a_handful_of_launches_however_many_take_part(figures):
    assert 28 * 10 < figures["decoder.kernels_1x1"] <= 700
    assert figures["decoder.kernels_64x1"] == figures["decoder.kernels_1x1"]
    assert figures["decoder.kernels_64x110"] <= 1.05 * figures["decoder.kernels_1x1"]
    assert figures["decoder.views_64x110"] <= 1_000
    assert figures["decoder.kv_copied_bytes"] == 0


def test_a_step_is_sent_in_two_copies_and_waited_for_once(figures):
    assert figures["decoder.copies_to_device"] == 2
    assert figures["decoder.syncs"] == 1
    assert figures["decoder.loop_copies_to_device_most"] == 2
    assert figures["decoder.loop_syncs_most"] == 1
    assert figures["decoder.loop_kv_copied_bytes"] == 0


def test_live_steps_are_recorded(figures):
    assert figures["decoder.live_steps"] > 200
    assert figures["decoder.graph_share_live"] >= 0.98


@pytest.mark.parametrize("draft_seed", [None, 1])
def test_the_engines_loop_on_a_device_of_its_own_answers_as_on_the_cpu(draft_seed):
    """Any operation over both devices, and any that waits for a value, is an error there."""
    limits = kit.scheduler.SchedulerLimits(max_step_tokens=32)

    def answers(where):
        network, cache = kit.network(where), kit.cache(2_000, where)
        drafts = None
        if draft_seed is not None:
            own = kit.cache(2_000, where, extents=cache.extents)
            steps = kit.runner.StepRunner(kit.network(where, seed=draft_seed), own, 64, 64)
            drafts = kit.speculator.Speculator(steps, 3, frozenset({95}), 32)
        made = kit.engine.Engine(network, cache, limits, (95,), None, None, drafts, look_ahead=draft_seed is None)
        asked = kit.mixed_sequences()
        for one in asked:
            made.submit(one)
        made._turn()
        while not made.is_idle:
            made._turn()
        assert [one.listener.error for one in asked] == [None] * len(asked)
        return [one.listener.ids for one in asked]

    with torch.inference_mode():
        expected = answers(kit.CPU)
    with counting():
        assert answers(device()) == expected


class Replayed:
    """In place of a CUDA graph: what was recorded runs again, from the same tensors to the same tensors."""

    def __init__(self, run):
        self.run, self.times = run, 0
        run()

    def replay(self):
        self.times += 1
        self.run()


class Recorder:
    """In place of the one of CUDA graphs."""

    graphs: ClassVar[list] = []

    def record(self, run):
        self.graphs.append(Replayed(run))
        return self.graphs[-1]


def test_recorded_steps_read_and_write_where_they_did_when_they_were_recorded(monkeypatch):
    """The way of CUDA graphs on the device that counts: every shape recorded, and every step of the engine a replay."""
    monkeypatch.setattr(kit.runner, "has_flash", lambda *_: True)
    monkeypatch.setattr(kit.runner, "Recorder", Recorder)
    graphs = Recorder.graphs
    graphs.clear()
    limits = kit.scheduler.SchedulerLimits(max_running=8, max_step_tokens=64)

    def answers(where, record):
        network, cache = kit.network(where), kit.cache(2_000, where)
        fixed = kit.shapes.Shapes([1, 2, 4], 64, 8) if record else None
        steps = kit.runner.StepRunner(network, cache, 64, 8, frozenset({95}), fixed)
        if record:
            steps.record()
        made = kit.engine.Engine(network, cache, limits, (95,), None, steps, look_ahead=record)
        asked = kit.mixed_sequences()
        for one in asked:
            made.submit(one)
        made._turn()
        while not made.is_idle:
            made._turn()
        return [one.listener.ids for one in asked], steps

    with torch.inference_mode():
        expected, _ = answers(kit.CPU, record=False)
    with counting() as counter:
        got, steps = answers(device(), record=True)
        assert got == expected
        assert steps.counters.fixed == steps.counters.steps > 20
        assert sum(graph.times for graph in graphs) > 2 * steps.counters.steps - 40
        assert len(graphs) == len([*kit.shapes.Shapes([1, 2, 4], 64, 8)]) + len(kit.picking.CHOICES)
        assert counter.counts.kv_copied_bytes == 0


def test_a_shape_that_cannot_be_recorded_leaves_the_steps_as_they_are(monkeypatch, caplog):
    monkeypatch.setattr(kit.runner, "has_flash", lambda *_: True)

    class Fails:
        def record(self, run):
            raise RuntimeError("out of memory")

    monkeypatch.setattr(kit.runner, "Recorder", Fails)
    with counting():
        network, cache = kit.network(device()), kit.cache(200, device())
        steps = kit.runner.StepRunner(network, cache, 16, 4, shapes=kit.shapes.Shapes([1], 16, 4))
        steps.record()
        step = kit.step.Step()
        step.add(torch.zeros(1, dtype=torch.int32).numpy(), 0, 0)
        step.judge(0)
        assert steps.shape_of(step) is None
        assert len(steps.launch(step).tokens()[0]) == 1
    assert "one kernel after the other" in caplog.text


def test_a_model_is_warmed_up_on_a_device_of_its_own():
    warm_up = kit.room("decoder", "serving.warm_up")
    with counting():
        network, cache = kit.network(device()), kit.cache(2_000, device())
        made = kit.engine.Engine(network, cache, kit.scheduler.SchedulerLimits(), (95,), look_ahead=True)
        # The engine's thread is not within the device.
        submit = made.submit

        def at_once(sequence):
            submit(sequence)
            made._turn()
            while not made.is_idle:
                made._turn()

        made.submit = at_once
        assert warm_up.warm_up(made, network.embedding, [1.0, 2.0]) > 0
    assert made.stats.generated_tokens >= 2 * (3 + 6)


def test_one_drawn_row_leaves_the_others_as_cheap_as_they_are():
    def kernels(choices):
        with counting() as counter:
            network, cache = kit.network(device()), kit.cache(2_000, device())
            steps = kit.runner.StepRunner(network, cache, 64, 64)
            step = kit.step.Step()
            for row, choice in enumerate(choices):
                step.add(np.ones(1, dtype=np.int32), 3, 10 * row)
                step.judge(row, choice)
            counter.reset()
            tokens = steps.launch(step).tokens()[0]
            return counter.reset().num_kernels, tokens

    plain, drawn = kit.step.PLAIN, kit.step.Choice(temperature=0.7, seed=3)
    few, tokens = kernels([plain] * 40)
    many, mixed = kernels([plain] * 20 + [drawn] + [plain] * 19)
    assert mixed[:20] + mixed[21:] == tokens[:20] + tokens[21:]
    assert many < few + 90
    banned, _ = kernels([kit.step.Choice(banned=True)] * 40)
    assert banned < few + 20


def test_what_would_be_wrong_on_a_gpu_is_an_error_there():
    with counting() as counter:
        there = torch.zeros(3, device=device())
        with pytest.raises(RuntimeError, match="of the CPU and of the device"):
            there + torch.ones(3)
        for waits in (lambda: int(there[0]), lambda: there.tolist(), lambda: bool(there.any())):
            with pytest.raises(RuntimeError):
                waits()
        with pytest.raises(RuntimeError, match="not in one piece"):
            torch.zeros(2, 3, device=device())[:, :2].copy_(torch.ones(2, 2), non_blocking=True)
        counter.reset()
        (there + 1).to("cpu")
        counts = counter.reset()
        assert (counts.num_kernels, counts.to_host, counts.syncs) == (1, 1, 1)


def test_what_is_copied_of_the_arena_is_counted():
    with counting() as counter:
        cache = kit.cache(64, device())
        counter.watch(cache)
        keys, _ = cache.layer(0)
        keys[torch.arange(4, device=device())]
        assert counter.reset().kv_copied_bytes == 4 * keys[0].numel() * 4
        cache.copy(0, 32, 8)
        assert counter.reset().kv_copied_bytes > 0
