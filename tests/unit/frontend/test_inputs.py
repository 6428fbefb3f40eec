"""Ranges of what clients may ask for, checked where it enters."""

import io
import json

import pytest

from export.rooms import room
from frontend.api import bounded_form
from frontend.api.bounded_form import UploadRequest
from frontend.api.live_settings import FLAGS, NUMBERS, TEXTS, wrong_setting
from frontend.api.strict_json import parsed
from frontend.api.transcription_request import checked_request
from frontend.errors import ApiError

settings_room = room("asr_stream", "settings")


@pytest.mark.parametrize(
    "text",
    ["", "{", "NaN", "[Infinity]", "1e999", "-1e999", "9" * 5_000, "0." + "1" * 5_000, "[" * 100_000,
     "[" * 40 + "]" * 40, '{"a":' * 40 + "1" + "}" * 40, '"\\ud800"', '{"\\udfff": 1}', '[["\\ud800"]]'],
)  # fmt: skip
def test_json_that_nobody_needs_is_refused(text):
    with pytest.raises(ValueError, match=r"."):
        parsed(text)


def test_json_is_read_as_ever():
    value = {"a": [1, 2.5, -3e-4, True, None, "ü\U0001f600"], "b": {"c": []}}
    assert parsed(json.dumps(value)) == value


def edges():
    for name, (low, high) in NUMBERS.items():
        step = 0.01 if name == "threshold" else 1
        yield from ((name, value) for value in (low - step, low, high, high + step))
        yield from ((name, value) for value in ("x", "", float("nan"), True, [1], None, str(low)))
        yield name, low + 0.5 * step
    for name, longest in TEXTS.items():
        yield from ((name, value) for value in ("x" * longest, "x" * (longest + 1), 7, None))
    yield from (("vad", value) for value in ("on", "off"))
    yield from ((name, value) for name in FLAGS for value in (True, "false", "1", "yes", None, 2))
    yield from (("command", "flush"), ("volume", 11), ("sequence_id", 7), ("triton_x", 1), ("priority", 1))


@pytest.mark.parametrize(("name", "value"), edges())
def test_a_live_session_takes_here_what_the_model_takes(name, value):
    """The room is asked the same, by itself."""
    here = wrong_setting({name: value}) is None
    try:
        if name in ("command", "triton_x"):
            raise ValueError("what the model leaves alone is no setting")
        settings_room.Settings().changed({name: value})
    except (ValueError, TypeError):
        assert not here
    else:
        assert here or isinstance(value, bool)


def test_all_settings_of_the_model_are_known_here():
    assert {*TEXTS, *NUMBERS, *FLAGS} == set(settings_room.Settings.__dataclass_fields__)


@pytest.mark.parametrize("value", [10**400, -(10**400), "9" * 10_000, "\ud800", {"a": 1}])
def test_whatever_stands_in_a_setting_is_answered_with_a_short_message(value):
    for name in (*NUMBERS, *TEXTS, *FLAGS, "x" * 5_000):
        if name in ("context", "hotwords") and value == "9" * 10_000:
            continue
        assert len(wrong_setting({name: value})) < 400


@pytest.mark.parametrize(
    ("param", "fields"),
    [
        ("prompt", {"prompt": "x" * 20_001}),
        ("prompt", {"prompt": "x" * 15_000, "keywords": ["y" * 6_000]}),
        ("prompt", {"prompt": "\ud800"}),
        ("keywords", {"keywords": ["y"] * 201}),
        ("keywords", {"keywords": ["\udfff"]}),
        ("languages", {"languages": ["en"] * 51}),
        ("language", {"language": "k" * 101}),
        ("include", {"include": ["x" * 5_000]}),
        ("include", {"include": ["logprobs"] * 11}),
        ("timestamp_granularities", {"timestamp_granularities": ["segment"] * 11}),
        ("temperature", {"temperature": float("nan")}),
        ("temperature", {"temperature": 1.01}),
        ("chunking_strategy", {"chunking_strategy": '{"type": "server_vad", "threshold": NaN}'}),
        ("chunking_strategy", {"chunking_strategy": "[" * 50_000}),
        ("chunking_strategy", {"chunking_strategy": '{"type": "server_vad", "%s": 1}' % ("x" * 5_000)}),
    ],
)
def test_fields_beyond_their_range_are_named(param, fields):
    with pytest.raises(ApiError) as caught:
        checked_request(**fields)
    assert (caught.value.status, caught.value.param) == (400, param)
    assert len(str(caught.value)) < 400


def form(parts, content_type="multipart/form-data; boundary=b"):
    """A request with these parts: a name, a value, and a file's name where it is one."""
    body = io.BytesIO()
    for name, value, *file in parts:
        named = f'; filename="{file[0]}"' if file else ""
        body.write(f'--b\r\nContent-Disposition: form-data; name="{name}"{named}\r\n\r\n'.encode() + value + b"\r\n")
    body.write(b"--b--\r\n")

    async def receive():
        return {"type": "http.request", "body": body.getvalue(), "more_body": False}

    return UploadRequest({"type": "http", "headers": [(b"content-type", content_type.encode())]}, receive)


async def test_a_form_is_read_once():
    request = form([("model", b"tiny"), ("file", b"sound", "a.wav"), ("keywords[]", b"a"), ("keywords[]", b"b")])
    read = await request.form()
    assert await request.form() is read
    assert (read["model"], read.getlist("keywords[]")) == ("tiny", ["a", "b"])
    assert await read["file"].read() == b"sound"


@pytest.mark.parametrize(
    ("parts", "content_type"),
    [
        ([(f"f{number}", b"x") for number in range(bounded_form.MAX_FIELDS + 1)], "multipart/form-data; boundary=b"),
        ([("prompt", bytes(bounded_form.MAX_FIELD_BYTES + 1))], "multipart/form-data; boundary=b"),
        ([("a", bytes(250_000)), ("b", bytes(250_000))], "multipart/form-data; boundary=b"),
        ([("file", b"x", "a"), ("file", b"x", "a")], "multipart/form-data; boundary=b"),
        ([("a", b"x")], "multipart/form-data"),
        ([("a", b"x")], "multipart/form-data; boundary=c"),
        ([("a", b"x")], "application/json"),
        ([("a", b"x")], "application/x-www-form-urlencoded"),
        ([("a", b"x")], ""),
        ([("a", b"x")], "multipart/form-data; boundary=b; charset=idna"),
        ([("a", b"x")], "multipart/form-data; boundary=b; charset=unicode_escape"),
    ],
)
async def test_forms_beyond_their_bounds_are_refused(parts, content_type):
    with pytest.raises(ApiError) as caught:
        await form(parts, content_type).form()
    assert caught.value.status == 400


async def test_a_full_disk_is_told_as_one(monkeypatch):
    async def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("starlette.datastructures.UploadFile.write", full)
    with pytest.raises(ApiError) as caught:
        await form([("file", b"x", "a")]).form()
    assert caught.value.status == 507


async def test_a_client_that_leaves_in_its_form_is_no_error_of_ours():
    messages = iter([{"type": "http.request", "body": b"--b\r\n", "more_body": True}, {"type": "http.disconnect"}])

    async def receive():
        return next(messages)

    headers = [(b"content-type", b"multipart/form-data; boundary=b")]
    with pytest.raises(ApiError) as caught:
        await UploadRequest({"type": "http", "headers": headers}, receive).form()
    assert caught.value.status == 499
