"""What ASR_TRITON_URLS may name, and what is said of what it may not."""

from pathlib import Path

import pytest

from frontend.settings import Settings
from frontend.triton.addresses import Address, Source, listed, merged, of_name, parsed


def test_addresses_with_and_without_weights():
    assert parsed(["a:8001", " b.example.org:8001=2 ", "[::1]:8001=0.5", "10.0.0.1:1=0"]) == [
        Address("a:8001", 1.0),
        Address("b.example.org:8001", 2.0),
        Address("[::1]:8001", 0.5),
        Address("10.0.0.1:1", 0.0),
    ]


def test_names_and_files_stand_for_many():
    assert parsed(["dns:///triton:8001", "dns:///other:8001=3", "file:///etc/asr/servers"]) == [
        Source(host="triton", port=8001),
        Source(host="other", port=8001, weight=3.0),
        Source(path=Path("/etc/asr/servers")),
    ]
    source = Source(host="triton", port=8001, weight=2.0)
    told = of_name(source, ["10.0.0.2", "10.0.0.1", "10.0.0.2", "fd00::1"])
    assert [one.url for one in told] == ["10.0.0.1:8001", "10.0.0.2:8001", "[fd00::1]:8001"]
    # Its certificate names the service, not an address that it has for a while.
    assert {(one.weight, one.name) for one in told} == {(2.0, "triton")}


def test_a_file_has_a_line_for_each():
    assert listed("# ours\na:8001\n\nb:8001 = 0   # drained\n") == [Address("a:8001"), Address("b:8001", 0.0)]
    assert listed("") == []
    with pytest.raises(ValueError, match="dns:///a:8001"):
        listed("dns:///a:8001")


def test_who_is_named_twice_over_two_ways_is_one():
    told = merged([[Address("a:1", 2.0)], [Address("a:1"), Address("b:1")]])
    assert told == [Address("a:1", 2.0), Address("b:1")]


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("triton", "is no host:port"),
        ("http://triton:8001", "is no host:port"),
        ("triton:8001/path", "is no host:port"),
        ("::1:8001", "is no host:port"),
        (":8001", "is no host:port"),
        ("", "is no host:port"),
        ("a b:8001", "is no host:port"),
        ("dns://triton:8001", "is no host:port"),
        ("dns:///triton", "is no host:port"),
        ("a:0", "a port is 1 to 65535"),
        ("a:70000", "a port is 1 to 65535"),
        ("a:1=-1", "a weight is 0 to 100"),
        ("a:1=nan", "a weight is 0 to 100"),
        ("a:1=inf", "a weight is 0 to 100"),
        ("a:1=", "a weight is 0 to 100"),
        ("a:1=2=3", "a weight is 0 to 100"),
        ("file:///", "names no file"),
    ],
)
def test_what_is_no_server_is_said_in_one_line(entry, said):
    with pytest.raises(ValueError, match=said) as caught:
        parsed([entry])
    assert "\n" not in str(caught.value)
    assert repr(entry.strip()) in str(caught.value)


def test_a_server_is_named_once_and_not_too_many_are():
    with pytest.raises(ValueError, match="'a:1' is named twice"):
        parsed(["a:1", "b:1", "a:1=2"])
    with pytest.raises(ValueError, match="'dns:///a:1' is named twice"):
        parsed(["dns:///a:1", "dns:///a:1=2"])
    with pytest.raises(ValueError, match="1001 servers are named; 1000 are the most"):
        parsed(f"a{number}:1" for number in range(1_001))


def test_the_setting_is_a_list_and_says_what_is_wrong_with_it(monkeypatch):
    monkeypatch.setenv("ASR_TRITON_URLS", '["a:8001", "b:8001=2"]')
    assert Settings().triton_urls == ["a:8001", "b:8001=2"]
    assert not Settings().is_embedded
    for wrong, said in (("a:8001", "is not a JSON list"), ('["a"]', "'a' is no host:port"), ("[1]", "valid string")):
        monkeypatch.setenv("ASR_TRITON_URLS", wrong)
        with pytest.raises(ValueError, match=said):
            Settings()
    monkeypatch.setenv("ASR_TRITON_URLS", "")
    assert Settings().is_embedded
