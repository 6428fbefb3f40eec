"""Multipart forms: sound files that are none, fields at their extremes, and forms that are hardly forms."""

from __future__ import annotations

from perf.chaos.hostile import values
from perf.chaos.hostile.attack import Attack, Http, Rng, request
from perf.chaos.hostile.containers import sound_file, truncated, whole

BOUNDARY = "b0undary"
ROUTES = (
    ("/v1/audio/transcriptions", "file"),
    ("/v1/audio/transcriptions", "file"),
    ("/v1/audio/transcriptions/stream", "file"),
    ("/api/v1/transcribe", "file"),
    ("/api/v1/asr", "audio_file"),
    ("/api/v1/trans/video", "file"),
)
FIELDS = (
    "model",
    "language",
    "languages[]",
    "prompt",
    "initial_prompt",
    "keywords[]",
    "response_format",
    "temperature",
    "include[]",
    "output",
    "timestamp_granularities[]",
    "chunking_strategy",
    "stream",
    "debug",
    "chunking_strategy[type]",
    "chunking_strategy[threshold]",
    "chunking_strategy[silence_duration_ms]",
    "chunking_strategy[prefix_padding_ms]",
)
NUMERIC = (
    "temperature",
    "chunking_strategy[threshold]",
    "chunking_strategy[silence_duration_ms]",
    "chunking_strategy[prefix_padding_ms]",
)
Field = tuple[str, bytes]


def files(rng: Rng) -> Attack:
    """A file that is not what it seems, with fields that are."""
    path, name = rng.choice(ROUTES)
    claimed = rng.choice(("audio/wav", "audio/mpeg", "video/mp4", "text/plain", "application/x-mpegURL", ""))
    stream = [("stream", b"true")] if rng.random() < 0.2 else []
    return posted(path, [("model", b"whisper-1"), *stream], name, sound_file(rng), claimed)


def fields(rng: Rng) -> Attack:
    """A short sound that is in order, with fields at their extremes."""
    path, name = rng.choice(ROUTES)
    wanted: dict[str, bytes] = {"model": b"whisper-1"}
    for field in rng.sample(FIELDS, rng.choice((1, 1, 2, 4))):
        number = field in NUMERIC and rng.random() < 0.8
        wanted[field] = rng.choice(values.NUMBERS).encode() if number else _value(field, rng)
    if any(field.startswith("chunking_strategy[") for field in wanted):
        wanted["chunking_strategy[type]"] = b"server_vad"
    return posted(path, list(wanted.items()), name, whole("wav"))


def repeated(rng: Rng) -> Attack:
    """Thousands of fields, the same field many times, files where texts are wanted, reserved names."""
    path, name = rng.choice(ROUTES)
    how = rng.randrange(6)
    if how == 0:
        many = [(f"field{number}", b"x") for number in range(rng.choice((900, 1_100, 5_000)))]
    elif how == 1:
        many = [(rng.choice(FIELDS), values.utf8(rng)[:1_000]) for _ in range(60)]
    elif how == 2:
        many = [(reserved, b"1") for reserved in values.RESERVED]
    elif how == 3:
        many = [(values.text(rng)[:300_000], b"x")]
    elif how == 4:
        many = [("keywords[]", values.utf8(rng)) for _ in range(20)]
    else:
        many = [("model", b"whisper-1"), (name, b"a text, no file")]
    return posted(path, [("model", b"whisper-1"), *many], name, whole("wav"))


def bodies(rng: Rng) -> Attack:
    """Forms without an end or a boundary, with broken headers, or in another coding than they say."""
    path, name = rng.choice(ROUTES)
    body = form([("model", b"whisper-1")], name, whole("wav"))
    content_type = f"multipart/form-data; boundary={BOUNDARY}"
    how = rng.randrange(14)
    if how == 0:
        body = body[: rng.randrange(len(body))]
    elif how == 1:
        content_type = rng.choice(
            (
                "multipart/form-data",
                "multipart/form-data; boundary=",
                "multipart/form-data; boundary=" + "x" * 5_000,
                "multipart/mixed",
            )
        )
    elif how == 2:
        content_type = rng.choice(
            ("application/json", "text/plain", "application/x-www-form-urlencoded", "x", "", "audio/wav")
        )
    elif how == 3:
        content_type = f"multipart/form-data; boundary={rng.choice(('other', '%00', BOUNDARY + 'x', chr(233)))}"
    elif how == 4:
        body = body.replace(
            b"Content-Disposition: form-data",
            rng.choice((b"X: y", b"Content-Disposition: attachment", b"\xff\xfe", b"")),
        )
    elif how == 5:
        body = body.replace(b"\r\n", b"\n")
    elif how == 6:
        body = body.replace(
            b'filename="',
            b'filename="' + rng.choice((b"../../etc/passwd\x00", b"\xff" * 300, b"a" * 20_000, b'"; x="', b"\r\n")),
        )
    elif how == 7:
        changed = bytearray(body)
        for _ in range(20):
            changed[rng.randrange(len(changed))] = rng.randrange(256)
        body = bytes(changed)
    elif how == 8:
        body = b"model=whisper-1&" + b"&".join(b"a%d=%%zz" % number for number in range(3_000))
        content_type = "application/x-www-form-urlencoded"
    elif how == 9:
        body = b"".join(b"--%s\r\n" % BOUNDARY.encode() for _ in range(20_000))
    elif how == 10:
        body = body.replace(b"\r\n\r\n", b"\r\n" + b"X-Header: y\r\n" * rng.choice((30, 5_000)) + b"\r\n", 1)
    elif how == 11:
        body = values.broken_json(rng).encode("utf-8", "surrogatepass")
    elif how == 12:
        return request(
            "POST", path, body, (("Content-Type", content_type), ("Content-Encoding", rng.choice(("gzip", "br", "x"))))
        )
    else:
        content_type += rng.choice(("; charset=utf-7", "; charset=\xff", '; boundary="two"', ";" * 3_000))
    return request("POST", path, body, (("Content-Type", content_type),))


def cut(rng: Rng) -> Attack:
    """A form that breaks off: the client leaves in the middle of its own body."""
    path, name = rng.choice(ROUTES)
    data = truncated(rng) + whole("english")
    sent = posted(path, [("model", b"whisper-1")], name, data).pieces[0]
    stop = rng.randrange(len(sent))
    return Http((sent[:stop],), leaves=True)


def _value(field: str, rng: Rng) -> bytes:
    if field.startswith("chunking_strategy") and rng.random() < 0.6:
        names = ("type", "threshold", "silence_duration_ms", "prefix_padding_ms", "x")
        strategy: dict[str, object] = {
            name: rng.choice((rng.choice(values.FLOATS), rng.choice(values.WHOLE), "server_vad", None, []))
            for name in rng.sample(names, 3)
        }
        return values.json_text({**strategy, "type": "server_vad"}).encode()
    if rng.random() < 0.01:
        # Ten megabytes of one field.
        return b"ten " * 2_500_000
    return values.utf8(rng)


def posted(path: str, fields: list[Field], name: str, data: bytes, claimed: str = "audio/wav") -> Http:
    """A POST of a form in order, whatever is in it."""
    content_type = (("Content-Type", f"multipart/form-data; boundary={BOUNDARY}"),)
    return request("POST", path, form(fields, name, data, claimed), content_type)


def form(fields: list[Field], name: str, data: bytes, claimed: str = "audio/wav") -> bytes:
    dash = b"--" + BOUNDARY.encode()
    parts = []
    for field, value in fields:
        label = field.encode("utf-8", "surrogatepass")
        parts.append(dash + b'\r\nContent-Disposition: form-data; name="' + label + b'"\r\n\r\n' + value + b"\r\n")
    head = f'\r\nContent-Disposition: form-data; name="{name}"; filename="a.wav"\r\nContent-Type: {claimed}\r\n\r\n'
    parts.append(dash + head.encode() + data + b"\r\n")
    return b"".join(parts) + dash + b"--\r\n"
