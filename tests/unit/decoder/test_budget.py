"""Number format and KV cache, decided from injected figures of memory."""

import threading

import pytest
import torch

from export.rooms import room
from tests.unit.decoder import engine_kit as kit

budget, memory_room = room("decoder", "serving.budget"), room("decoder", "serving.memory")
Memory, Wish = budget.Memory, budget.Wish
GB, MB = 2**30, 2**20
# Numbers of one token: layers x key-value heads x head_dim, keys and values.
TINY, REAL = 2 * 3 * 2 * 32, 2 * 28 * 8 * 128
RTX_4090, T4, H200 = Memory("gpu", 24 * GB, 20 * GB), Memory("gpu", 15 * GB, 13 * GB), Memory("gpu", 140 * GB, 135 * GB)


def sequences(memory, token_bytes, max_running=64, wish=None):
    return budget.cache_tokens(wish or Wish(), memory, token_bytes, max_running) // budget.TOKENS_OF_30_S


def test_the_tiny_checkpoint_takes_what_it_can_use_and_no_more():
    tokens = budget.cache_tokens(Wish(), Memory("cpu", 64 * GB, 60 * GB), 4 * TINY, 64)
    assert tokens * 4 * TINY <= 256 * MB
    assert tokens >= 64 * budget.TOKENS_OF_30_S + budget.TOKENS_OF_LONGEST


@pytest.mark.parametrize(
    ("memory", "itemsize", "max_running", "at_least"),
    [
        (Memory("cpu", 24 * GB, 20 * GB), 4, 64, 32),
        (Memory("cpu", 8 * GB, 5 * GB), 4, 64, 8),
        (RTX_4090, 2, 128, 100),
        (T4, 2, 128, 64),
        (H200, 2, 128, 128),
        (Memory("gpu", 8 * GB, 6 * GB), 2, 128, 16),
    ],
)
def test_a_true_checkpoint_never_runs_one_at_a_time(memory, itemsize, max_running, at_least):
    tokens = budget.cache_tokens(Wish(), memory, itemsize * REAL, max_running)
    assert tokens // budget.TOKENS_OF_30_S >= at_least
    # What the graphs, the encoder and the other models need is left.
    assert tokens * itemsize * REAL <= memory.free * 0.8 - (1.5 * GB if memory.kind == "gpu" else 0)
    assert tokens <= 2 * max_running * budget.TOKENS_OF_30_S + budget.TOKENS_OF_LONGEST


def test_a_share_holds_for_two_decoders_on_one_gpu():
    """Whichever is loaded first: it is one of the whole memory."""
    last = Memory("gpu", RTX_4090.total, 9 * GB)
    sizes = {2 * REAL * budget.cache_tokens(budget.parse_wish("30%"), one, 2 * REAL, 128) for one in (RTX_4090, last)}
    assert len(sizes) == 1
    assert 0.29 * RTX_4090.total < sizes.pop() <= 0.3 * RTX_4090.total
    with pytest.raises(budget.NotEnoughMemory, match=r"30% of this GPU's 24576 MB are not there: 5120 MB are free"):
        budget.cache_tokens(budget.parse_wish("30%"), Memory("gpu", 24 * GB, 5 * GB), 2 * REAL, 128)


def test_a_named_cache_that_does_not_fit_is_refused():
    with pytest.raises(budget.NotEnoughMemory, match=r"kv_cache_mb 30720 is more than the \d+ MB that are free"):
        budget.cache_tokens(Wish(bytes=30 * GB), RTX_4090, 2 * REAL, 128)
    assert budget.cache_tokens(Wish(bytes=8 * GB), RTX_4090, 2 * REAL, 128) == 8 * GB // (2 * REAL)


def test_too_little_memory_is_told_in_numbers():
    with pytest.raises(budget.NotEnoughMemory, match=r"40% of the 1024 MB .* 4 sequences of 30 s, which need \d+ MB"):
        sequences(Memory("cpu", 4 * GB, GB), 4 * REAL)
    with pytest.raises(budget.NotEnoughMemory, match="free for this GPU"):
        sequences(Memory("gpu", 4 * GB, 2 * GB), 2 * REAL)


def test_a_size_that_is_named_is_taken():
    assert budget.cache_tokens(Wish(bytes=512 * MB), Memory("cpu", GB, GB), 4 * REAL, 64) == 512 * MB // (4 * REAL)
    with pytest.raises(budget.NotEnoughMemory, match="one sequence of 30 s needs"):
        budget.cache_tokens(Wish(bytes=64 * MB), Memory("cpu", GB, GB), 4 * REAL, 64)


@pytest.mark.parametrize(("text", "wish"), [("0", Wish()), ("256", Wish(bytes=256 * MB)), ("40%", Wish(share=0.4))])
def test_the_parameter(text, wish):
    assert budget.parse_wish(text) == wish


@pytest.mark.parametrize("text", ["", "auto", "-1", "0%", "120%", "1.5", "%"])
def test_a_parameter_that_says_nothing_is_refused(text):
    with pytest.raises(ValueError, match="kv_cache_mb is a number of MB"):
        budget.parse_wish(text)


@pytest.mark.parametrize(
    ("memory", "num_weights", "capability", "expected"),
    [
        (Memory("cpu", 24 * GB, 20 * GB), 600_000_000, None, "float32"),
        (Memory("cpu", 16 * GB, 14 * GB), 1_700_000_000, None, "float32"),
        (Memory("cpu", 8 * GB, 7 * GB), 1_700_000_000, None, "bfloat16"),
        (RTX_4090, 1_700_000_000, (8, 9), "bfloat16"),
        (T4, 600_000_000, (7, 5), "float16"),
    ],
)
def test_the_number_format_follows_the_device_and_its_memory(memory, num_weights, capability, expected):
    assert budget.chosen_dtype("auto", memory, num_weights, REAL, capability) == expected
    assert budget.chosen_dtype("float16", memory, num_weights, REAL, capability) == "float16"


def write(root, files):
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


MACHINE = {"proc/meminfo": "MemTotal:  16777216 kB\nMemFree: 100 kB\nMemAvailable:  8388608 kB\n"}


def test_a_machine_without_limits_has_what_it_says(tmp_path):
    write(tmp_path, {**MACHINE, "proc/self/cgroup": "0::/user.slice\n", "sys/fs/cgroup/memory.max": "max\n"})
    assert memory_room.host_memory(tmp_path) == Memory("cpu", 16 * GB, 8 * GB)


@pytest.mark.parametrize("name", ["/", "/docker/abc"])
def test_a_containers_limit_counts_less_what_it_uses(tmp_path, name):
    group = "sys/fs/cgroup" + name.rstrip("/")
    write(
        tmp_path,
        {
            **MACHINE,
            "proc/self/cgroup": f"0::{name}\n",
            f"{group}/memory.max": f"{4 * GB}\n",
            f"{group}/memory.current": f"{3 * GB}\n",
            f"{group}/memory.stat": f"anon 5\ninactive_file {GB}\n",
        },
    )
    assert memory_room.host_memory(tmp_path) == Memory("cpu", 4 * GB, 2 * GB)


def test_the_first_version_of_control_groups(tmp_path):
    group = "sys/fs/cgroup/memory"
    write(
        tmp_path,
        {
            **MACHINE,
            "proc/self/cgroup": "7:cpu,cpuacct:/x\n5:memory:/docker/abc\n",
            f"{group}/memory.limit_in_bytes": f"{2 * GB}\n",
            f"{group}/memory.usage_in_bytes": f"{GB}\n",
        },
    )
    assert memory_room.host_memory(tmp_path) == Memory("cpu", 2 * GB, GB)
    write(tmp_path, {f"{group}/memory.limit_in_bytes": "9223372036854771712\n"})
    assert memory_room.host_memory(tmp_path) == Memory("cpu", 16 * GB, 8 * GB)


def test_this_machine_has_memory():
    memory = memory_room.memory_of(torch.device("cpu"))
    assert 0 < memory.free <= memory.total


def test_the_engines_thread_works_on_its_networks_gpu(monkeypatch):
    """Graphs are recorded on the thread's current device, which is the first GPU unless somebody says another."""
    chosen = []

    def set_device(device):
        chosen.append((device, threading.current_thread().name))

    monkeypatch.setattr(torch.cuda, "set_device", set_device)
    engine = kit.engine.Engine(kit.network(), kit.cache(), kit.scheduler.SchedulerLimits(), [95])
    monkeypatch.setattr(engine.network, "device", torch.device("cuda:1"))
    engine.start()
    engine.stop()
    assert chosen == [(torch.device("cuda:1"), "decoder-engine")]


def test_an_aligner_has_its_place_whether_or_not_it_is_loaded():
    empty, later = Memory("gpu", 24 * GB, 19 * GB), Memory("gpu", 24 * GB, 13 * GB)
    assert empty.beside(4 * GB, 6 * GB).free == 14 * GB
    assert later.beside(4 * GB, 6 * GB).free == 13 * GB
    assert Memory("gpu", 4 * GB, 1 * GB).beside(3 * GB, 6 * GB).free == 0
