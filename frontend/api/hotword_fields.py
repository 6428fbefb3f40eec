"""Hotwords in the fields of requests and in the settings of live sessions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True)
class LiveHotwords:
    """Of a live session: those it was given, and the lists it named. What a change does not name stays."""

    given: tuple[Hotword, ...] = ()
    named: tuple[str, ...] = ()

    def changed(self, settings: Mapping[str, Any]) -> LiveHotwords:
        """With those of its settings: hotwords a list, or text; hotword_lists a list of names, or these between
        commas. Raises WrongHotwords."""
        given, named = self.given, self.named
        if "hotwords" in settings:
            given = tuple(read_hotwords(settings["hotwords"] or []))
        if "hotword_lists" in settings:
            named = _names(settings["hotword_lists"] or [])
        return LiveHotwords(given, named)

    def for_asr_stream(self, settings: Mapping[str, Any], lists: HotwordLists) -> dict[str, Any]:
        """A live session's settings as `asr_stream` takes them: it has phrases, all of them anew where any change, and
        no lists by name. Raises WrongHotwords."""
        if not any(name in settings for name in FIELDS):
            return dict(settings)
        others = {name: value for name, value in settings.items() if name not in FIELDS}
        return {**others, "hotwords": as_parameter(all_hotwords(self.given, lists.named(self.named)))}


def _names(named: Any) -> tuple[str, ...]:
    if isinstance(named, str):
        named = [name.strip() for name in named.split(",") if name.strip()]
    if not isinstance(named, list) or not all(isinstance(name, str) for name in named):
        raise WrongHotwords("hotword_lists must be a list of names", "hotword_lists")
    return tuple(named)
