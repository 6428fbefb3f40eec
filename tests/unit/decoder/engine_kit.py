"""A small random network and an engine around it, for tests of the engine alone."""

from __future__ import annotations

import threading
from unittest import mock

import torch

from export.rooms import room
from perf.models.random_model import decoder_weights

qwen3 = room("decoder", "network.qwen3")
kv_cache = room("decoder", "network.kv_cache")
engine = room("decoder", "engine.engine")
arrivals = room("decoder", "engine.arrivals")
scheduler = room("decoder", "engine.scheduler")
sequence = room("decoder", "engine.sequence")
sampling = room("decoder", "engine.sampling")
sessions = room("decoder", "engine.sessions")
runner = room("decoder", "network.runner")
products = room("decoder", "network.products")
picking = room("decoder", "network.picking")
biasing = room("decoder", "engine.biasing")
hotwords = room("decoder", "engine.hotwords")
acceptance = room("decoder", "engine.acceptance")
shapes = room("decoder", "network.shapes")
layout = room("decoder", "network.layout")
attention = room("decoder", "network.attention")
step = room("decoder", "network.step")
choosing = room("decoder", "network.choosing")
speculator = room("decoder", "engine.speculator")
waiting_room = room("decoder", "engine.waiting_room")

CONFIG = qwen3.Qwen3Config(
    vocab_size=96,
    hidden_size=48,
    intermediate_size=80,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    head_dim=16,
)
CPU = torch.device("cpu")
# Set by the fixture `way`.
AS_ON_A_GPU = IN_16_BITS = False


def network(device=CPU, dtype=torch.float32, seed=0):
    weights = decoder_weights(CONFIG, seed)
    if not IN_16_BITS:
        return qwen3.Qwen3(CONFIG, weights, device, dtype)
    # A checkpoint's own 16 bits stay where matrices are large; here they are as small as the network's.
    with mock.patch.object(products, "PACKED_FROM", 0):
        return qwen3.Qwen3(CONFIG, {name: one.bfloat16().float() for name, one in weights.items()}, device, dtype)


def matrices(network):
    """All products of a network."""
    layers = [(one.qkv, one.o, one.gate_up, one.down) for one in network.layers]
    return [network.head, *(matrix for layer in layers for matrix in layer)]


def cache(tokens=4096, device=CPU, dtype=torch.float32, extents=None):
    shape = (CONFIG.num_key_value_heads, CONFIG.head_dim)
    return kv_cache.KVCache(CONFIG.num_hidden_layers, tokens, *shape, device, dtype, extents)


def with_flash_attentions_arguments(query, keys, values, row_starts, kv_starts, kv_lengths, masks, *rest):
    """The reference of CUDA's kernel: it has nothing but what that is given."""
    return attention.by_sequence(query, keys, values, row_starts, kv_starts, kv_lengths, [], *rest)


class Collector:
    """A listener that keeps everything and waits for the end."""

    def __init__(self, cancel_after=None):
        self.ids, self.logprobs = [], []
        self.finished = None
        self.error = None
        self.done = threading.Event()
        self.ends = 0
        self.cancel_after = cancel_after

    def on_tokens(self, ids, logprobs):
        assert self.ends == 0
        self.ids += ids
        self.logprobs += logprobs

    def on_finish(self, finished):
        self.finished = finished
        self.ends += 1
        self.done.set()

    def on_error(self, message):
        self.error = message
        self.ends += 1
        self.done.set()

    def is_cancelled(self):
        return self.cancel_after is not None and len(self.ids) >= self.cancel_after


def make_engine(
    tokens=4096,
    places=None,
    end_ids=(95,),
    device="cpu",
    dtype=torch.float32,
    batches=(),
    draft_seed=None,
    look_ahead=False,
    **limits,
):
    """batches: CUDA graphs for them; draft_seed: a draft network of these random weights."""
    where = torch.device(device)
    target, arena = network(where, dtype), cache(tokens, where, dtype)
    bounds = scheduler.SchedulerLimits(**limits)
    as_on_a_gpu = AS_ON_A_GPU and device == "cpu"
    if as_on_a_gpu:
        # Steps in fixed shapes, CUDA's attention, and the next step planned while one runs.
        target.attention, look_ahead, batches = with_flash_attentions_arguments, True, (1, 2, 4, 8)
    ends = frozenset(end_ids)
    most = max(bounds.max_step_tokens, bounds.max_running), bounds.max_running
    fixed = shapes.Shapes(list(batches), *most) if batches else None
    steps = runner.StepRunner(target, arena, *most, ends, fixed)
    if batches and not as_on_a_gpu:
        steps.record()
    drafter = None
    if draft_seed is not None:
        own = cache(tokens, where, dtype, arena.extents)
        drafts = runner.StepRunner(network(where, dtype, draft_seed), own, max(32, most[0]), most[1])
        drafter = speculator.Speculator(drafts, 3, ends, 32)
    made = engine.Engine(target, arena, bounds, end_ids, places, steps, drafter, look_ahead=look_ahead)
    made.start()
    return made


def make_sequence(
    seed,
    num_audio=20,
    max_new_tokens=24,
    priority=2,
    temperature=0.0,
    listener=None,
    draft=(),
    session=None,
    drafted=False,
    phrases=(),
    **params,
):
    """Random networks loop: the guard against it is off unless it is asked for. phrases: hotwords, anywhere."""
    generator = torch.Generator().manual_seed(seed)
    cached_rows = session.cached_rows if session else 0
    # A stream's audio is the same from its beginning, however long it has become.
    audio = torch.randn(400, CONFIG.hidden_size, generator=generator)[cached_rows:num_audio]
    before = torch.randint(0, 90, (5,), generator=generator).tolist()
    prompt = sequence.Prompt(before, audio, torch.randint(0, 90, (3,), generator=generator).tolist(), cached_rows)
    params = sampling.SamplingParams(max_new_tokens, temperature, seed, **{"repetition_guard": False, **params})
    listener = listener or Collector()
    words = hotwords.Hotwords(phrases, None) if phrases else None
    biased = None if words is None else biasing.Biasing(words)
    own_audio = audio if drafted else None
    return sequence.Sequence(str(seed), prompt, params, priority, listener, draft, session, own_audio, biased)


def mixed_sequences():
    """Of different lengths: greedy, drawn, drafted, kept, not allowed to end, and one that its caller leaves."""
    kinds = [{}, {"temperature": 0.9}, {"draft": [1, 2, 3]}, {"min_new_tokens": 5}, {"max_new_tokens": 40}]
    kinds += [{"session": sessions.SessionRequest("s", 0, 8)}, {"temperature": 1.5, "min_new_tokens": 3}]
    kinds += [{"listener": Collector(cancel_after=4)}]
    return [make_sequence(seed, 10 + 9 * seed, **kind) for seed, kind in enumerate(kinds)]


def run(made, sequences, timeout_s=60):
    """Submit all, wait for all, return their tokens."""
    for one in sequences:
        made.submit(one)
    for one in sequences:
        assert one.listener.done.wait(timeout_s)
        assert one.listener.error is None
    return [one.listener.ids for one in sequences]


def stop_as_it_submits(made, monkeypatch):
    """Let an engine end just where `submit` has found it running and has not put the request yet."""
    enter = made.room.enter

    def enter_while_it_stops(priority):
        enter(priority)
        made.stop()

    monkeypatch.setattr(made.room, "enter", enter_while_it_stops)
    return enter
