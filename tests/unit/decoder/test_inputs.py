"""What a request says of its session."""

import pytest
import torch

from export.rooms import room
from tests.unit.decoder import engine_kit as kit

inputs = room("decoder", "serving.inputs")


def length(parameters):
    """Of a prompt of one block after those that the session has, as the adapter makes it."""
    session = inputs.checked_session({"session": "s", **parameters}, [inputs.BLOCK_FRAMES])
    return len(kit.sequence.Prompt([1], torch.zeros(inputs.BLOCK_TOKENS, 1), [2], session.cached_rows))


@pytest.mark.parametrize("name", ["cached_blocks", "keep_blocks"])
@pytest.mark.parametrize("count", [-(2**63), -1, inputs.MAX_BLOCKS + 1, 2**62, 2**63 - 1])
def test_more_blocks_than_there_can_be_are_refused(name, count):
    with pytest.raises(ValueError, match=f"{name} must lie within 0 and {inputs.MAX_BLOCKS}, and is {count}"):
        length({name: count})


def test_as_many_blocks_as_there_can_be_are_counted():
    most = inputs.MAX_BLOCKS
    assert length({"cached_blocks": most, "keep_blocks": most}) == 2 + (most + 1) * inputs.BLOCK_TOKENS


def test_what_is_kept_was_sent():
    with pytest.raises(ValueError, match="keep_blocks must lie within 0 and 3, the blocks that were sent, and is 4"):
        length({"cached_blocks": 2, "keep_blocks": 4})
    with pytest.raises(ValueError, match="need a session"):
        inputs.checked_session({"cached_blocks": 1}, [])
    with pytest.raises(ValueError, match="only full blocks"):
        inputs.checked_session({"session": "s", "keep_blocks": 1}, [inputs.BLOCK_FRAMES - 1])
