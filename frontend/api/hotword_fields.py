"""Hotwords in the fields of requests and in the settings of live sessions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import Request

from frontend.errors import ApiError
from frontend.wording.hotwords import (
    Hotword,
    HotwordLists,
    WrongHotwords,
    all_hotwords,
    as_parameter,
    read_hotwords,
)

FIELDS = ("hotwords", "hotword_lists")


def hotwords_of(request: Request, given: str | None, lists: Sequence[str]) -> list[Hotword]:
    """Of a form. Raises ApiError 400."""
    known: HotwordLists = request.app.state.hotword_lists
    try:
        return all_hotwords(read_hotwords(given) if given and given.strip() else [], known.named(lists))
    except WrongHotwords as error:
        raise ApiError(400, str(error), param=error.param) from error


def for_asr_stream(settings: Mapping[str, Any], lists: HotwordLists) -> dict[str, Any]:
    """A live session's settings as `asr_stream` takes them: it has phrases, and no lists by name. hotwords may be a
    list, or text; hotword_lists a list of names, or these between commas. Raises WrongHotwords."""
    if not any(name in settings for name in FIELDS):
        return dict(settings)
    given, named = settings.get("hotwords") or [], settings.get("hotword_lists") or []
    if isinstance(named, str):
        named = [name.strip() for name in named.split(",") if name.strip()]
    if not isinstance(named, list) or not all(isinstance(name, str) for name in named):
        raise WrongHotwords("hotword_lists must be a list of names", "hotword_lists")
    others = {name: value for name, value in settings.items() if name not in FIELDS}
    return {**others, "hotwords": as_parameter(all_hotwords(read_hotwords(given), lists.named(named)))}
