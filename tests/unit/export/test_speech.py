"""Manifests and folders of speech."""

import json

import numpy as np
import pytest
import soundfile

from export.errors import ExportError
from export.speech import read_speech
from perf.speech.clips import HUMAN_SPEECH
from perf.speech.digits import write_digits


@pytest.fixture
def folder(tmp_path):
    for name in ("a", "b"):
        soundfile.write(tmp_path / f"{name}.wav", np.zeros(1_600, dtype=np.float32), 16_000)
    return tmp_path


def test_a_folder_with_texts_beside(folder):
    (folder / "a.txt").write_text("one two\n")
    assert [(one.path.name, one.text) for one in read_speech(folder)] == [("a.wav", "one two"), ("b.wav", None)]
    assert read_speech(folder)[0].pcm().shape == (1_600,)


def test_librispeech_and_kaldi_folders(folder):
    (folder / "x.trans.txt").write_text("a ONE TWO\nb THREE\n")
    assert [one.text for one in read_speech(folder)] == ["ONE TWO", "THREE"]
    (folder / "wav.scp").write_text("u1 b.wav\nu2 a.wav\n")
    (folder / "text").write_text("u1 three\nu2 one two\n")
    assert [(one.path.name, one.text) for one in read_speech(folder)] == [("b.wav", "three"), ("a.wav", "one two")]


def test_json_and_csv_manifests(folder):
    rows = [{"audio_filepath": "a.wav", "text": "one", "language": "English"}, {"path": "b.wav", "sentence": "二"}]
    (folder / "m.jsonl").write_text("\n".join(json.dumps(row) for row in rows) + "\n\n")
    found = read_speech(folder / "m.jsonl")
    assert [(one.text, one.language) for one in found] == [("one", "English"), ("二", None)]
    (folder / "m.csv").write_text('audio,text\na.wav,"one, two"\n')
    assert read_speech(folder / "m.csv")[0].text == "one, two"
    (folder / "m.tsv").write_text("path\tsentence\tlang\nb.wav\tthree\ten\n")
    assert read_speech(folder / "m.tsv")[0].language == "en"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("m.jsonl", "{}\n", "m.jsonl:1 has none of audio"),
        ("m.jsonl", "not json\n", "m.jsonl:1 is not JSON"),
        ("m.jsonl", "[1]\n", "m.jsonl:1 is not an object"),
        ("m.jsonl", '{"audio": "c.wav"}\n', r"c\.wav, which does not exist"),
        ("m.jsonl", "", "names no sound files"),
        ("m.yaml", "", "neither a folder nor"),
    ],
)
def test_what_is_wrong_is_named(folder, name, content, message):
    (folder / name).write_text(content)
    with pytest.raises(ExportError, match=message):
        read_speech(folder / name)


def test_a_file_that_is_no_sound_is_named(folder):
    (folder / "a.wav").write_bytes(b"nothing")
    with pytest.raises(ExportError, match=r"a\.wav"):
        read_speech(folder)[0].pcm()
    with pytest.raises(ExportError, match="does not exist"):
        read_speech(folder / "none")


@pytest.mark.skipif(not HUMAN_SPEECH.is_dir(), reason=f"human speech is not at {HUMAN_SPEECH}")
def test_digits_become_a_set_with_texts(tmp_path):
    found = read_speech(write_digits(tmp_path / "digits", 6))
    assert len(found) == 6
    assert all(2 <= len((one.text or "").split()) <= 7 for one in found)
