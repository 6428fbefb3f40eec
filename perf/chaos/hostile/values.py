"""Numbers and texts at their extremes."""

from __future__ import annotations

import json

from perf.chaos.hostile.attack import Rng

NUMBERS = (
    "1e-40",
    "NaN",
    "nan",
    "inf",
    "-inf",
    "Infinity",
    "-0",
    "0",
    "-1",
    "1e309",
    "1e308",
    "-1e308",
    "5e-324",
    "9223372036854775807",
    "9223372036854775808",
    "-9223372036854775809",
    "2147483648",
    "4294967296",
    "0x10",
    "1_000",
    "1,5",
    "0.1e",
    "٣",
    "１",
    "1e-3",
    "+1",
    " 1 ",
    "",
    "null",
    "true",
    "[]",
    "1" * 400,
    "0." + "3" * 400,
    "3.0000001",
)
FLOATS = (
    float("nan"),
    float("inf"),
    float("-inf"),
    -0.0,
    1e-40,
    1e308,
    -1e308,
    5e-324,
    0.5,
    1.5,
    2.0000001,
    -1.0,
    1e18,
    3e9,
)
WHOLE = (0, 1, -1, 2, 7, 2**31, 2**31 - 1, -(2**31), 2**63 - 1, -(2**63), 10**6, 10**9, 65_536)
SPECIAL = (
    "<|im_start|>",
    "<|im_end|>",
    "<|audio_start|>",
    "<|audio_pad|>",
    "<|audio_end|>",
    "<asr_text>",
    "<|endoftext|>",
)
# Characters that other parsers have fallen over.
ODD = (
    "\x00",
    "\x01",
    "\x1b[2J",
    "\x7f",
    "\r\n",
    "\u202e",
    "\ufeff",
    "\ud83d",
    "\u0301" * 50,
    "🏳️‍🌈",
    "{{7*7}}",
    "%s%n",
    "'\"",
    "../" * 8,
    "\u2028",
    "${jndi:x}",
    "\\",
    "{% for %}",
    "</s>",
)
RESERVED = (
    "sequence_id",
    "sequence_start",
    "sequence_end",
    "cancel",
    "end_session",
    "session",
    "cached_blocks",
    "keep_blocks",
    "priority_level",
    "hold",
    "command",
    "priority",
    "timeout",
    "triton_final_response",
    "request_id",
    "model_name",
    "min_new_tokens",
    "repetition_guard",
    "__class__",
    "vad",
    "debug",
)


def text(rng: Rng) -> str:
    """Short or long, plain or odd; up to a few hundred thousand characters, seldom."""
    how = rng.randrange(8)
    if how == 0:
        return rng.choice(ODD) * rng.choice((1, 3, 100))
    if how == 1:
        # One inside of the other: what is left when the inner one is taken out is one again.
        token, depth = rng.choice(SPECIAL), rng.choice((1, 5, 300))
        return token[: len(token) // 2] * depth + token + token[len(token) // 2 :] * depth
    if how == 2:
        return "".join(rng.choice(SPECIAL) for _ in range(rng.choice((1, 20, 2_000))))
    if how == 3:
        return rng.choice(NUMBERS)
    if how == 4:
        return "word " * rng.choice((1, 1_000, 40_000))
    if how == 5:
        return "".join(chr(rng.choice((rng.randrange(1, 0xD800), rng.randrange(0xE000, 0x110000)))) for _ in range(200))
    if how == 6:
        return rng.choice(RESERVED)
    return "a" * rng.choice((0, 1, 255, 70_000, 300_000))


def utf8(rng: Rng) -> bytes:
    """A text's bytes; one in five is none."""
    if rng.random() < 0.2:
        return rng.choice((b"\xff\xfe\xfd", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", rng.randbytes(64)))
    return text(rng).encode("utf-8", "surrogatepass")


def json_value(rng: Rng, depth: int = 2) -> object:
    """Anything that JSON, or Python's habit of writing it, can say."""
    how = rng.randrange(9)
    if how == 0:
        return rng.choice((None, True, False))
    if how == 1:
        return rng.choice(FLOATS)
    if how == 2:
        return rng.choice((*WHOLE, 10**400))
    if how in (3, 4):
        return text(rng)[:5_000]
    if depth and how in (5, 6):
        return [json_value(rng, depth - 1) for _ in range(rng.randrange(4))]
    if depth:
        return {rng.choice((*RESERVED, "type", "x")): json_value(rng, depth - 1) for _ in range(rng.randrange(4))}
    return ""


def json_text(value: object) -> str:
    """As Python writes it, NaN and lone surrogates (escaped) among it."""
    return json.dumps(value)


def broken_json(rng: Rng) -> str:
    """Text that is nearly JSON, or deeper than parsers like."""
    return rng.choice(
        (
            "{",
            "[" * 100_000,
            '{"a":' * 20_000,
            "nul",
            '"\\ud800"',
            "{'a': 1}",
            '{"type": "x",}',
            '{"a":1}{"b":2}',
            "\ufeff{}",
            "1e999",
            "[" + "1," * 50_000 + "1]",
            '{"action":"end","action":"flush"}',
            "",
            "\x00",
            "NaN",
            "9" * 10_000,
        )
    )
