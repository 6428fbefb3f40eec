"""The log: lines for people, or one JSON object a line for machines."""

from __future__ import annotations

import json
import logging
import sys
import time

FIELDS = ("request_id", "route", "method", "status", "ms", "audio_s")


class JsonLines(logging.Formatter):
    """One JSON object a record, with the fields that the record was given."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **{name: getattr(record, name) for name in FIELDS if hasattr(record, name)},
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


class WithoutQuery(logging.Filter):
    """uvicorn tells the address of every WebSocket, whose query may hold words that a client expects."""

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, tuple):
            record.args = tuple(arg.partition("?")[0] if isinstance(arg, str) else arg for arg in record.args)
        return True


def install(level: str, *, as_json: bool) -> None:
    handler = logging.StreamHandler(sys.stderr)
    text = "%(asctime)s %(levelname)s %(name)s: %(message)s"
    handler.setFormatter(JsonLines() if as_json else logging.Formatter(text))
    logging.basicConfig(level=level.upper(), handlers=[handler])
    logging.getLogger("uvicorn.error").addFilter(WithoutQuery())
