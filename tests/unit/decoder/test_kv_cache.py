import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from export.rooms import room

kv_cache = room("decoder", "network.kv_cache")


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 40)), max_size=60))
def test_extents_never_overlap_and_all_come_back(actions):
    allocator = kv_cache.ExtentAllocator(100)
    held = []
    for release, number in actions:
        if release and held:
            allocator.release(held.pop(number % len(held)))
        elif (extent := allocator.allocate(number)) is not None:
            held.append(extent)
        tokens = [t for e in held for t in range(e.start, e.start + e.size)]
        assert len(tokens) == len(set(tokens)) == 100 - allocator.num_free
        assert all(0 <= t < 100 for t in tokens)
    for extent in held:
        allocator.release(extent)
    # Free neighbours have grown together: the whole line is one extent again.
    assert allocator.allocate(100) == kv_cache.Extent(0, 100)


@pytest.mark.parametrize("size", [0, -1, 101])
def test_impossible_sizes_are_refused(size):
    with pytest.raises(ValueError, match="do not fit"):
        kv_cache.ExtentAllocator(100).allocate(size)


def test_reads_what_was_written():
    cache = kv_cache.KVCache(2, 16, 3, 4, torch.device("cpu"), torch.float32)
    keys, values = torch.randn(5, 3, 4), torch.randn(5, 3, 4)
    cache.write(1, torch.arange(6, 11), keys, values)
    read_keys, read_values = cache.layer(1)
    assert torch.equal(read_keys[6:11], keys)
    assert torch.equal(read_values[6:11], values)
    assert not cache.layer(0)[0].any()


def test_memory_of_a_token():
    assert kv_cache.KVCache.token_bytes(2, 4, 32, torch.float32) == 2 * 2 * 4 * 32 * 4
