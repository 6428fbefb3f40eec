"""What the pages say of names, defaults and ranges is what the code has; their links lead somewhere."""

import re

import pytest

from export.rooms import room
from frontend.errors import CLIENT_CLOSED_REQUEST
from frontend.settings import Settings
from tests.conftest import ROOT

PAGES = [
    "README.md",
    "frontend/API.md",
    "SECURITY.md",
    "CONTRIBUTING.md",
    "export/README.md",
    "frontend/README.md",
    "perf/README.md",
]
PAGES += ["model_repository/README.md", "deploy/kubernetes/README.md", "export/TENSORRT_LLM.md", "perf/chaos/README.md"]


def text_of(page):
    return (ROOT / page).read_text(encoding="utf-8")


def rows(text):
    """The cells of every row of every table."""
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"]


def prose(text):
    """Without code and tables."""
    return [line for line in re.sub(r"^```.*?^```", "", text, flags=re.M | re.S).splitlines() if line[:1] != "|"]


def shown(value):
    """A default as a table has it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:g}"
    return "none" if value is None else str(value)


@pytest.mark.parametrize("page", PAGES[:10])
def test_prose_is_readable_in_a_terminal(page):
    assert [line for line in prose(text_of(page)) if len(line) > 120 and "](" not in line] == []


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", text_of(page)):
        if target.startswith("http"):
            continue
        name, _, part = target.partition("#")
        there = (ROOT / page).parent / name if name else ROOT / page
        assert there.exists(), target
        headings = re.findall(r"^#+ (.*)$", there.read_text(encoding="utf-8"), flags=re.M) if part else []
        anchors = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
        assert not part or part in anchors, target


def test_every_setting_is_told_with_its_default():
    told = {}
    for cells in rows(text_of("frontend/README.md")):
        for name in re.findall(r"`([A-Z_]+)`", cells[0]):
            assert name not in told, name
            told[name] = cells[1]
    fields = {name.upper(): field for name, field in Settings.model_fields.items()}
    assert set(told) == set(fields)
    # In words, because they follow the machine, or are long.
    in_words = {"CACHE_DIR", "MODEL_REPOSITORY", "MODEL_ALIASES", "MAX_UPLOADS"}
    wrong = {name: told[name] for name in set(told) - in_words if told[name] != shown(fields[name].default)}
    assert wrong == {}


def parameters_of(heading):
    """Default and range by name, of the last table of a part of the page of models."""
    part = re.search(rf"^## `{heading}`.*?(?=^## )", text_of("model_repository/README.md"), flags=re.M | re.S)[0]
    named = [cells for cells in rows(part) if len(cells) == 4 and cells[0].startswith("`")]
    return {name: (cells[1].strip("`"), cells[2]) for cells in named for name in re.findall(r"`(\w+)`", cells[0])}


def test_what_a_live_session_may_ask_for_is_told_with_its_default():
    settings = room("asr_stream", "settings")
    told = parameters_of("asr_stream")
    fields = settings.Settings.__dataclass_fields__
    # A canary is no user's.
    assert set(told) == {*fields, *settings.OTHER} - {"canary"}
    empty = {"language": "recognized", "context": "none", "hotwords": "none"}
    for name, field in fields.items():
        assert told[name][0] == empty.get(name, shown(field.default)), name
    bounds = {name: ends for name, (_, ends) in told.items() if " to " in ends and name in fields}
    for name, ends in bounds.items():
        low, high = map(float, ends.split(" to "))
        least = room("asr_stream", "parameters").Parameters().min_partial_interval_ms
        for value in (low, high):
            settings.Settings().changed({name: value}, least)
        for value in (low - 0.01 if name == "threshold" else low - 1, high + 1):
            with pytest.raises(ValueError, match=name):
                settings.Settings().changed({name: value}, least)


def test_what_a_clip_may_ask_for_is_told_with_its_default():
    told = parameters_of("asr")
    for name, field in room("vad", "parameters").Parameters.__dataclass_fields__.items():
        if name in told:
            assert told[name] == (shown(field.default), f"{field.metadata['low']} to {field.metadata['high']}"), name
    assert {"threshold", "min_speech_ms", "min_silence_ms", "speech_pad_ms"} <= set(told)
    sampling = room("decoder", "engine.sampling").SamplingParams
    for name in ("temperature", "seed"):
        assert told[name][0] == shown(sampling.__dataclass_fields__[name].default), name


def test_every_refusal_is_told():
    told = {cells[0].removeprefix("close ") for cells in rows(text_of("frontend/API.md"))}
    code = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "frontend").rglob("*.py"))
    given = set(re.findall(r"ApiError\(\s*(\d{3})\b", code)) - {str(CLIENT_CLOSED_REQUEST)}
    closed = re.findall(r"(?:TRY_AGAIN_LATER|REFUSED|POLICY_VIOLATION)\b[^\n=]*= (1\d{3}(?:, 1\d{3})*)", code)
    assert len(given) > 6
    assert closed
    assert given | set(re.findall(r"\d+", " ".join(closed))) <= told
