"""The secret of Triton's control services: where it comes from, who may read it, what is said when it cannot be had."""

import stat

import pytest

from frontend.triton.client import TritonClient, TritonUnavailable
from frontend.triton.control import NoControlKey, kept_key, read_key, restriction


def test_each_start_without_a_file_has_a_secret_of_its_own():
    first, second = kept_key(None), kept_key(None)
    assert first != second
    assert min(len(first), len(second)) >= 32


def test_a_kept_secret_is_made_once_and_read_by_its_owner_alone(tmp_path):
    path = tmp_path / "keys" / "control"
    assert read_key(path) == ""
    key = kept_key(path)
    assert kept_key(path) == read_key(path) == key
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_an_empty_file_that_others_may_read_is_closed_before_it_is_filled(tmp_path):
    path = tmp_path / "control"
    path.touch()
    path.chmod(0o644)
    assert kept_key(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("write", [lambda path: path.mkdir(), lambda path: path.write_bytes(b"\xff\xfe")])
def test_a_file_that_is_none_is_named(tmp_path, write):
    path = tmp_path / "control"
    write(path)
    with pytest.raises(NoControlKey, match=str(path)):
        kept_key(path)


async def test_a_client_that_cannot_read_the_secret_says_so(tmp_path):
    client = TritonClient("127.0.0.1:1", lambda: read_key(tmp_path))
    try:
        with pytest.raises(TritonUnavailable, match="cannot be read as the secret"):
            await client.load("decoder", 1.0)
        with pytest.raises(TritonUnavailable, match="cannot be read as the secret"):
            await client.repository()
    finally:
        await client.close()


def test_what_triton_is_told():
    assert restriction("abc") == "model-repository,shared-memory,logging,trace:asr-control=abc"
