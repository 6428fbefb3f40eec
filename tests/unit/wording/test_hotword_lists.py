"""Hotwords of files and of live sessions: nothing of a name is lost, and no change takes what it does not name."""

import json

import pytest

from frontend.api.live_wording import LiveWording
from frontend.api.ws_transcribe import Setting
from frontend.wording.hotwords import HotwordLists
from frontend.wording.stage import Wording


@pytest.fixture
def lists(tmp_path):
    (tmp_path / "team.txt").write_text("\ufeff# of the team\nC#\n  # and\nF#\t2\n\nQwen\n", encoding="utf-8")
    (tmp_path / "others.txt").write_text("Kubernetes\n")
    return HotwordLists(tmp_path)


def test_a_remark_is_a_line_of_its_own_and_a_mark_of_the_encoding_no_letter(lists):
    assert [(one.phrase, one.weight) for one in lists.named(["team"])] == [("C#", 1), ("F#", 2), ("Qwen", 1)]
    assert [one.phrase for one in lists.named(["others"])] == ["Kubernetes"]


def phrases(parameters):
    text = parameters["hotwords"]
    return [one if isinstance(one, str) else one["phrase"] for one in json.loads(text or "[]")]


async def final(live, text):
    async def said():
        yield {"type": "final", "utterance": 1, "text": text, "revised": False, "language": "English"}

    (text,) = [event["text"] async for event in live.events(said())]
    return text


async def test_a_change_of_one_leaves_the_other(lists):
    live = LiveWording(Wording())
    setting = Setting(lists, live)
    assert setting.changed({"hotwords": "Altair", "phonetic": "true"})[0] is None
    wrong, parameters = setting.changed({"hotword_lists": "others"})
    assert (wrong, phrases(parameters)) == (None, ["Altair", "Kubernetes"])
    assert await final(live, "cooper netties and altaire") == "Kubernetes and Altair"
    wrong, parameters = setting.changed({"hotwords": ["Vega"]})
    assert (wrong, phrases(parameters)) == (None, ["Vega", "Kubernetes"])
    assert await final(live, "cooper netties and altaire") == "Kubernetes and altaire"
    assert "hotwords" not in setting.changed({"silence_ms": 300})[1]
    # A mistake changes nothing.
    for mistake in ({"hotword_lists": "nobody"}, {"hotwords": [], "mask": "some"}, {"hotwords": [], "silence_ms": 1}):
        assert setting.changed(mistake)[0]
    assert phrases(setting.changed({"hotword_lists": []})[1]) == ["Vega"]
    assert phrases(setting.changed({"hotwords": None})[1]) == []
    assert await final(live, "cooper netties") == "cooper netties"
    await live.close()


async def test_a_list_is_read_again_at_each_change(lists, tmp_path):
    live = LiveWording(Wording())
    setting = Setting(lists, live)
    setting.changed({"hotword_lists": ["others"]})
    (tmp_path / "others.txt").write_text("Kubernetes\nDeneb\n")
    assert phrases(setting.changed({"hotwords": "Vega"})[1]) == ["Vega", "Kubernetes", "Deneb"]
    await live.close()
