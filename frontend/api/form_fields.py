"""Form fields that several routes take."""

from __future__ import annotations

from typing import Annotated

from fastapi import File, Form, UploadFile

Upload = Annotated[UploadFile, File(description="Sound, or a film with sound, in any format that FFmpeg reads.")]
Language = Annotated[str | None, Form(description="ISO-639 code or English name; left out: recognized.")]
Prompt = Annotated[str | None, Form(description="Names and words to expect.")]
Format = Annotated[str, Form(description="json, text, srt, verbose_json or vtt.")]
Temperature = Annotated[float, Form(ge=0, le=1, description="0 takes the likeliest token each time.")]
Stream = Annotated[bool, Form(description="Answer with server-sent events.")]
Debug = Annotated[bool, Form(description="Add meta.timings_ms.")]
