"""What a request brings, checked: every mistake has its own message."""

from __future__ import annotations

import itertools
from collections.abc import Collection
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..engine.scheduler import PRIORITIES
from ..engine.sessions import SessionRequest

BLOCK_FRAMES = 800
BLOCK_TOKENS = 104
# Blocks of a session, more than any KV cache holds: ten million tokens, nine days of speech.
MAX_BLOCKS = 100_000
# Characters of a session's or request's name.
MAX_NAME = 256


def checked_session(parameters: dict[str, Any], frames: list[int]) -> SessionRequest | None:
    """The parameters `session`, `cached_blocks` and `keep_blocks`, or None without a session.

    frames: valid frames of the blocks that were sent. Raises ValueError where there are more blocks than MAX_BLOCKS, or
    some would be kept that were not sent or are not full.
    """
    name = checked_name(parameters, "session")
    cached, keep = checked_blocks(parameters, "cached_blocks"), checked_blocks(parameters, "keep_blocks")
    if not name:
        if cached or keep:
            raise ValueError("cached_blocks and keep_blocks need a session")
        return None
    if keep > cached + len(frames):
        sent = cached + len(frames)
        raise ValueError(f"keep_blocks must lie within 0 and {sent}, the blocks that were sent, and is {keep}")
    if any(count != BLOCK_FRAMES for count in frames[: max(0, keep - cached)]):
        raise ValueError("only full blocks of 800 frames can be kept")
    return SessionRequest(name, cached * BLOCK_TOKENS, keep * BLOCK_TOKENS)


def checked_blocks(parameters: dict[str, Any], name: str) -> int:
    """A parameter that is a number of blocks, 0 where it is left out; ValueError where it is none, or one beyond
    MAX_BLOCKS."""
    count = checked_whole(parameters, name, 0)
    if not 0 <= count <= MAX_BLOCKS:
        raise ValueError(f"{name} must lie within 0 and {MAX_BLOCKS}, and is {count}")
    return count


def checked_draft(draft: NDArray[np.int32] | None, vocab_size: int, end_ids: Collection[int]) -> list[int]:
    """Draft token ids up to the first that ends an answer; ValueError where one is no token."""
    if draft is None:
        return []
    ids = [int(token) for token in draft.ravel()]
    if any(not 0 <= token < vocab_size for token in ids):
        raise ValueError(f"DRAFT_IDS must lie within 0 and {vocab_size - 1}")
    return list(itertools.takewhile(lambda token: token not in end_ids, ids))


def checked_whole(parameters: dict[str, Any], name: str, default: int) -> int:
    """A parameter that is a whole number, which may come as text; ValueError where it is none, or has more than 64
    bits."""
    value = parameters.get(name, default)
    try:
        if isinstance(value, bool) or (isinstance(value, float) and not value.is_integer()):
            raise ValueError
        number = int(value)
    except (TypeError, ValueError):
        raise ValueError(f"{name} must be a whole number, not {_shown(value)}") from None
    if not -(2**63) <= number < 2**63:
        raise ValueError(f"{name} must be a whole number of 64 bits")
    return number


def checked_number(parameters: dict[str, Any], name: str, default: float) -> float:
    """A parameter that is a number, which may come as text; ValueError where it is none. Its range is checked where it
    is used."""
    value = parameters.get(name, default)
    try:
        if isinstance(value, bool):
            raise ValueError
        return float(value)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"{name} must be a number, not {_shown(value)}") from None


def checked_truth(parameters: dict[str, Any], name: str, default: bool) -> bool:
    """A parameter that is true or false, which may come as text; ValueError where it is neither."""
    value = parameters.get(name, default)
    if str(value).lower() not in ("true", "false", "1", "0"):
        raise ValueError(f"{name} must be true or false, not {_shown(value)}")
    return str(value).lower() in ("true", "1")


def checked_name(parameters: dict[str, Any], name: str) -> str:
    """A parameter that names a session or a request, "" where it is left out; ValueError where it is no text, or longer
    than MAX_NAME: names are kept for a while."""
    value = checked_text(parameters, name)
    if len(value) > MAX_NAME:
        raise ValueError(f"{name} has {len(value)} characters; {MAX_NAME} are the most")
    return value


def _shown(value: Any) -> str:
    """A value in a message, however long it is."""
    return repr(value)[:40]


def checked_text(parameters: dict[str, Any], name: str) -> str:
    """A parameter that is a text, "" where it is left out."""
    value = parameters.get(name, "")
    if not isinstance(value, str):
        raise ValueError(f"{name} must be text, not {_shown(value)}")
    return value


def checked_priority(parameters: dict[str, Any]) -> int:
    """The parameter `priority_level`, 2 where it is left out; ValueError where it is none of 1, 2, 3.

    Triton keeps the parameter `priority` for its own queues, which are not used, and does not pass it on.
    """
    priority = parameters.get("priority_level", 2)
    if str(priority) not in {str(known) for known in PRIORITIES}:
        raise ValueError(f"priority_level must be one of {PRIORITIES}, not {_shown(priority)}")
    return int(priority)
