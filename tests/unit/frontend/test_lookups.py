"""What names and files stand for, and that a bad answer of theirs is not believed."""

import asyncio
import socket

import pytest

from frontend.triton import lookups
from frontend.triton.addresses import parsed
from frontend.triton.lookups import Lookup, resolved


class Names:
    """Answers what it is told to."""

    def __init__(self, *answers):
        self.answers, self.asked = list(answers), []

    async def __call__(self, host, port):
        self.asked.append((host, port))
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


async def urls(lookup):
    return [address.url for address in await lookup.look()]


async def test_a_names_addresses_change():
    names = Names(["10.0.0.1", "10.0.0.2"], ["10.0.0.2", "10.0.0.3"])
    lookup = Lookup(parsed(["dns:///triton:8001", "a:8001"]), names)
    assert await urls(lookup) == ["10.0.0.1:8001", "10.0.0.2:8001", "a:8001"]
    assert await urls(lookup) == ["10.0.0.2:8001", "10.0.0.3:8001", "a:8001"]
    assert names.asked == [("triton", 8001)] * 2


async def test_a_name_that_nobody_knows_for_a_moment_loses_no_server(caplog):
    names = Names(["10.0.0.1"], socket.gaierror(-3, "Temporary failure"), [], ["10.0.0.1", "10.0.0.2"])
    lookup = Lookup(parsed(["dns:///triton:8001"]), names)
    for expected in (1, 1, 1, 2):
        assert len(await urls(lookup)) == expected
    assert "Temporary failure" in caplog.text
    assert "it names nobody; the 1 servers of before stay" in caplog.text


async def test_a_resolver_that_hangs_is_asked_once_and_the_others_are_not_waited_for(monkeypatch):
    monkeypatch.setattr(lookups, "ANSWER_S", 0.05)
    hanging, asked = asyncio.Event(), []

    async def resolve(host, port):
        asked.append(host)
        await hanging.wait()
        return ["10.0.0.1"]

    lookup = Lookup(parsed(["dns:///triton:8001", "a:8001"]), resolve)
    for _ in range(3):
        assert await asyncio.wait_for(urls(lookup), 5) == ["a:8001"]
    assert asked == ["triton"]
    hanging.set()
    assert await urls(lookup) == ["10.0.0.1:8001", "a:8001"]


async def test_a_file_is_read_again_and_kept_where_it_is_wrong(tmp_path, caplog):
    path = tmp_path / "servers"
    lookup = Lookup(parsed([f"file://{path}"]))
    assert await urls(lookup) == []
    path.write_text("a:1\nb:1=2\n")
    assert await urls(lookup) == ["a:1", "b:1"]
    for wrong in ("a:1\nb\n", "", "\udcff"):
        path.write_bytes(wrong.encode("utf-8", "surrogateescape"))
        assert await urls(lookup) == ["a:1", "b:1"]
    path.unlink()
    assert await urls(lookup) == ["a:1", "b:1"]
    assert "'b' is no host:port" in caplog.text
    assert "No such file" in caplog.text


async def test_what_is_wrong_is_said_once(caplog):
    lookup = Lookup(parsed(["dns:///triton:8001"]), Names(*[socket.gaierror(-2, "unknown")] * 5))
    for _ in range(5):
        await lookup.look()
    assert caplog.text.count("unknown") == 1


async def test_names_are_resolved_as_the_system_does():
    assert "127.0.0.1" in await resolved("localhost", 8001)
    assert await resolved("127.0.0.1", 8001) == ["127.0.0.1"]
    with pytest.raises(OSError, match=r".+"):
        await resolved("no.such.name.invalid", 8001)
