"""JSON of clients: no NaN, no numbers of a thousand digits, nothing nested until the reader falls over."""

from __future__ import annotations

import json
from typing import Any

MAX_DEPTH = 32
MAX_DIGITS = 64


def parsed(text: str) -> Any:
    """What the text says. Raises ValueError where it is no JSON, or none that anybody needs."""
    try:
        value = json.loads(text, parse_constant=_refused, parse_int=_int, parse_float=_float)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    _check(value)
    return value


def is_text(value: str) -> bool:
    """Whether it can be written down as UTF-8: escapes in JSON can make halves of characters."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _check(value: Any) -> None:
    """ValueError where it is nested too deeply, or holds a text that is none. Without recursion."""
    level = [value]
    for _ in range(MAX_DEPTH):
        inner: list[Any] = []
        for one in level:
            if isinstance(one, dict):
                inner += [*one, *one.values()]
            elif isinstance(one, list):
                inner += one
            elif isinstance(one, str) and not is_text(one):
                raise ValueError("a text holds half a character")
        level = inner
        if not level:
            return
    raise ValueError("it is nested too deeply")


def _refused(name: str) -> float:
    raise ValueError(f"{name} is no number of JSON")


def _int(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise ValueError("a number has too many digits")
    return int(digits)


def _float(digits: str) -> float:
    number = float(digits)
    if len(digits) > MAX_DIGITS or number in (float("inf"), float("-inf")):
        raise ValueError("a number has too many digits, or is too large")
    return number
