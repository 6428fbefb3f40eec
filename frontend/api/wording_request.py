"""What a request asks of the wording of its text, by form fields."""

from __future__ import annotations

from collections.abc import Sequence

from fastapi import Request

from frontend.errors import ApiError
from frontend.wording.stage import Wording
from frontend.wording.wanted import Wanted, WordingMistake, checked


def checked_wording(
    request: Request,
    *,
    text_format: str = "",
    phonetic: bool = False,
    filters: Sequence[str] = (),
    mask: str = "",
    correct: str | None = None,
) -> Wanted:
    """Raises ApiError 400 where a field is none that can be served."""
    wording: Wording = request.app.state.wording
    given = {"text_format": text_format, "phonetic": phonetic, "filters": list(filters), "mask": mask}
    try:
        return checked(
            {**given, "correct": correct}, wording.filters.names, wording.roles, has_endpoint=wording.has_endpoint
        )
    except WordingMistake as mistake:
        raise ApiError(400, str(mistake), param=mistake.param, code=mistake.code) from mistake
