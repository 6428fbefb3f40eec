"""The stage of a process, by its settings."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from frontend.observe.metrics import Metrics
from frontend.settings import Settings
from frontend.wording.chat import Endpoint
from frontend.wording.headed import FilesWrong
from frontend.wording.stage import Worded, Wording

MOST_KEY = 4_000


def wording_of(settings: Settings, metrics: Metrics | None = None) -> Wording:
    """metrics: where texts and questions are counted. Raises FilesWrong where a file of the settings is none that can
    serve."""

    def observe(worded: Worded) -> None:
        if metrics is not None:
            metrics.worded(worded.counts, worded.milliseconds)

    def observe_answer(outcome: str) -> None:
        if metrics is not None:
            metrics.corrections.labels(outcome).inc()

    return Wording(
        _endpoint(settings),
        filters_dir=settings.filters_dir,
        roles_dir=settings.correction_roles_dir,
        observe=observe,
        observe_answer=observe_answer,
    )


def _endpoint(settings: Settings) -> Endpoint | None:
    if settings.correction_url is None:
        return None
    if not _is_address(settings.correction_url):
        raise FilesWrong("ASR_CORRECTION_URL is no address such as http://127.0.0.1:8000/v1")
    if settings.correction_model is None:
        raise FilesWrong("ASR_CORRECTION_URL is set, and ASR_CORRECTION_MODEL is not")
    key = settings.correction_key or ""
    if settings.correction_key_file is not None:
        key = _key(settings.correction_key_file)
    if not key.isascii() or not key.isprintable():
        raise FilesWrong("the key of the chat endpoint has characters that no header can carry")
    return Endpoint(settings.correction_url, settings.correction_model, key, settings.correction_timeout_s)


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _key(path: Path) -> str:
    try:
        key = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise FilesWrong(f"ASR_CORRECTION_KEY_FILE: {path} cannot be read: {error}") from error
    if not key or len(key) > MOST_KEY:
        raise FilesWrong(f"ASR_CORRECTION_KEY_FILE: {path} holds no key")
    return key
