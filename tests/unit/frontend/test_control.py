"""The secret of Triton's control services: where it comes from, who may read it, what is said when it cannot be had."""

import asyncio
import os
import stat
import subprocess
import sys

import pytest

from frontend.triton.client import TritonClient, TritonUnavailable
from frontend.triton.control import NoControlKey, kept_key, main, read_key, restriction
from frontend.triton.errors import ControlRefused


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


UNFIT = {
    "a folder": lambda path: path.mkdir(),
    "bytes": lambda path: path.write_bytes(b"\xff\xfe"),
    "guessed": lambda path: path.write_text("secret"),
    "two lines": lambda path: path.write_text(f"{'a' * 20}\n{'b' * 20}\n"),
    "the option's signs": lambda path: path.write_text(f"{'a' * 20},b=c"),
}


@pytest.mark.parametrize("write", UNFIT.values(), ids=UNFIT)
def test_a_file_that_is_none_is_named(tmp_path, write):
    path = tmp_path / "control"
    write(path)
    for read in (kept_key, read_key):
        with pytest.raises(NoControlKey, match=str(path)):
            read(path)


def test_a_secret_that_others_may_read_or_write_is_refused(tmp_path):
    path = tmp_path / "control"
    path.write_text("a" * 32)
    for mode in (0o644, 0o604, 0o620):
        path.chmod(mode)
        with pytest.raises(NoControlKey, match="open to others"):
            kept_key(path)
    # A group's may be the watcher's.
    for mode in (0o600, 0o640, 0o400):
        path.chmod(mode)
        assert kept_key(path) == "a" * 32


@pytest.mark.skipif(os.geteuid() != 0, reason="gives a file to somebody else")
def test_a_file_that_somebody_else_made_is_refused(tmp_path):
    path = tmp_path / "control"
    path.touch()
    os.chown(path, 4_321, 4_321)
    with pytest.raises(NoControlKey, match="somebody else"):
        kept_key(path)


def test_no_secret_is_made_behind_a_link(tmp_path):
    (tmp_path / "control").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(NoControlKey, match="cannot be kept"):
        kept_key(tmp_path / "control")
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize("umask", [0o000, 0o777])
def test_the_umask_neither_opens_nor_closes_it(tmp_path, umask):
    before = os.umask(umask)
    try:
        path = tmp_path / "control"
        key = kept_key(path)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert read_key(path) == key


async def test_of_many_that_begin_at_once_one_makes_it(tmp_path):
    path = tmp_path / "control"
    for _ in range(20):
        path.unlink(missing_ok=True)
        keys = await asyncio.gather(*(asyncio.to_thread(kept_key, path) for _ in range(8)))
        assert set(keys) == {read_key(path)}


def test_the_options_of_a_container(tmp_path, capsys):
    """Its file is read by another container's user, and by nobody who does not see the volume."""
    path = tmp_path / "control"
    assert main(["--shared", str(path)]) == 0
    key = read_key(path)
    wanted = f"--grpc-restricted-protocol={restriction(key)} --http-restricted-api={restriction(key)}"
    assert capsys.readouterr().out.split() == wanted.split()
    assert stat.S_IMODE(path.stat().st_mode) == 0o444
    # Made once; whoever may not write it reads it.
    command = [sys.executable, "-m", "frontend.triton.control", "--shared", str(path)]
    again = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert again.stdout.split() == wanted.split()
    assert main([str(tmp_path / "own")]) == 0
    assert stat.S_IMODE((tmp_path / "own").stat().st_mode) == 0o600
    capsys.readouterr()
    (tmp_path / "bad").write_text("short")
    (tmp_path / "bad").chmod(0o600)
    assert main([str(tmp_path / "bad")]) == 2
    assert "holds no secret" in capsys.readouterr().err


async def test_a_client_that_cannot_read_the_secret_says_so(tmp_path):
    client = TritonClient("127.0.0.1:1", lambda: read_key(tmp_path))
    try:
        with pytest.raises(TritonUnavailable, match="cannot be read as the secret"):
            await client.load("decoder", 1.0)
        with pytest.raises(ControlRefused, match="cannot be read as the secret"):
            await client.repository()
    finally:
        await client.close()


def test_what_triton_is_told():
    assert restriction("abc") == "model-repository,shared-memory,logging,trace:asr-control=abc"
