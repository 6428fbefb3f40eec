"""A request's blocks on their way through the encoder: which run together, and that each gets its own rows."""

import numpy as np
import pytest

from export.rooms import MODEL_REPOSITORY, room

Encoding = room("encoder", "encoding").Encoding


def encoding(*frames, length=800, step=200, seed=0):
    rng = np.random.default_rng(seed)
    mel = rng.standard_normal((len(frames), 128, length)).astype(np.float32) - 3
    counts = np.array(frames, dtype=np.int32)[:, None]
    return Encoding(mel, counts, np.ones((len(frames), 1), dtype=np.float32), step), (mel, counts)


@pytest.fixture(scope="module")
def engine():
    return room("encoder", "engine").BlockEncoderEngine(MODEL_REPOSITORY / "encoder" / "1" / "model.onnx", 1, 16)


def runs(one, most):
    """(length, numbers of blocks) of each run of one request alone."""
    made = []
    while not one.is_done:
        length, indices = one.next_length, one.next(most)
        made.append((length, indices.tolist()))
        one.put(indices, np.zeros((indices.size, length // 100 * 13, 4), dtype=np.float32))
    return made


def test_blocks_run_with_their_like_and_no_more_than_a_run_takes():
    one, _ = encoding(800, 10, 800, 700, 350, 0)
    assert runs(one, 2) == [(800, [0, 2]), (800, [3]), (400, [4]), (200, [1, 5])]


def test_a_finer_step_makes_shorter_runs():
    one, _ = encoding(701, 10, 300, step=100)
    assert runs(one, 4) == [(800, [0]), (300, [2]), (100, [1])]


def test_a_block_is_never_run_longer_than_it_came():
    one, _ = encoding(90, length=100)
    assert runs(one, 4) == [(100, [0])]


@pytest.mark.parametrize(("frames", "length"), [((801,), 800), ((-1,), 800), ((10,), 250), ((10,), 900), ((0,), 0)])
def test_what_no_block_can_be_is_refused(frames, length):
    with pytest.raises(ValueError, match=r"FRAMES must lie|a multiple of 100"):
        encoding(*frames, length=length)


def test_requests_that_share_runs_get_what_they_get_alone(engine):
    made = [encoding(*frames, seed=seed) for seed, frames in enumerate([(800, 800, 120), (760,), (30, 799, 800)])]
    waiting = [one for one, _ in made]
    shared = []
    while waiting:
        count = engine.sharing(waiting)
        shared.append(count)
        engine.advance(waiting[:count])
        waiting = [one for one in waiting if not one.is_done]
    assert max(shared) > 1
    for one, (mel, frames) in made:
        alone = engine.encode(mel, frames, np.ones(frames.shape, dtype=np.float32))
        np.testing.assert_allclose(one.embeddings, alone, atol=1e-5)
        for rows, count in zip(one.embeddings, frames[:, 0], strict=True):
            # 13 rows for a second; the rest of the block is silent.
            assert not rows[-(-count // 100) * 13 :].any()
