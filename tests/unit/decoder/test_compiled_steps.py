"""Compiled steps: every shape once, and steps go on where one cannot be compiled."""

import functools
from dataclasses import replace

import numpy as np
import pytest
import torch

from export.rooms import room
from tests.unit.decoder import engine_kit as kit

Parameters = room("decoder", "parameters").Parameters
COMPILE = torch.compile
ONE_LAYER = replace(kit.CONFIG, num_hidden_layers=1)


class Backend:
    """In place of a compiler: counts what it is given, and runs it as it is."""

    def __init__(self, fails_from=None):
        self.count, self.fails_from = 0, fails_from

    def __call__(self, graph, example_inputs):
        if self.count == self.fails_from:
            raise RuntimeError("no compiler")
        self.count += 1
        return graph.forward


@pytest.fixture
def compiled(monkeypatch):
    """Makes runners of the default shapes of a device, whose steps are compiled by a backend."""

    def make(backend, device="cpu"):
        monkeypatch.setattr(torch, "compile", functools.partial(COMPILE, backend=backend))
        usual = Parameters.from_texts({"device": device})
        most = usual.max_step_tokens, usual.max_running
        network = kit.qwen3.Qwen3(ONE_LAYER, kit.decoder_weights(ONE_LAYER), kit.CPU, torch.float32, packed=False)
        fixed = kit.shapes.Shapes([*usual.decode_batches], *most)
        return kit.runner.StepRunner(network, kit.cache(4_096), *most, shapes=fixed, compiled=True), fixed

    torch._dynamo.reset()
    yield make
    torch._dynamo.reset()


def run_in(steps, shape, monkeypatch):
    """Tokens of a step of one row, filled up to this shape."""
    step = kit.step.Step()
    step.add(np.array([3], dtype=np.int32), 2, 0)
    step.judge(0)
    monkeypatch.setattr(steps, "shape_of", lambda _: shape)
    with torch.inference_mode():
        return steps.launch(step).tokens()


def test_every_shape_of_a_cpu_is_compiled_once_in_every_network(compiled, monkeypatch):
    backend = Backend()
    for networks in (1, 2):
        steps, fixed = compiled(backend)
        decoding = [shape for shape in fixed if shape.is_decode]
        assert len(decoding) == 14
        for shape in [*decoding, *decoding, decoding[0]]:
            run_in(steps, shape, monkeypatch)
        assert backend.count == networks * len(decoding)


def test_every_shape_of_a_gpu_is_compiled_once(compiled, monkeypatch):
    """By the operator, whose kernel here makes its own masks."""
    backend = Backend()
    steps, fixed = compiled(backend, "cuda")
    assert len(fixed) > 40
    for shape in fixed:
        assert run_in(steps, shape, monkeypatch) == run_in(steps, shape, monkeypatch)
    assert backend.count == len(fixed)


@pytest.mark.parametrize("fails_from", [0, 3])
def test_a_step_that_cannot_be_compiled_runs_as_it_is(compiled, monkeypatch, caplog, fails_from):
    backend = Backend(fails_from)
    steps, fixed = compiled(backend)
    plain = kit.runner.StepRunner(steps.network, kit.cache(4_096), 512, 64, shapes=fixed)
    for shape in [shape for shape in fixed if shape.is_decode][:6]:
        assert run_in(steps, shape, monkeypatch) == run_in(plain, shape, monkeypatch)
    assert backend.count == fails_from
    assert caplog.text.count("a step cannot be compiled: all run as they are, slower") == 1


def test_groups_of_every_size_are_answered(compiled):
    steps, _ = compiled(Backend())
    made = kit.engine.Engine(steps.network, steps.cache, kit.scheduler.SchedulerLimits(), [95], runner=steps)
    made.start()
    for size in (1, 2, 3, 5, 9, 17, 33):
        kit.run(made, [kit.make_sequence(seed, 4, max_new_tokens=3) for seed in range(size)])
    made.stop()
