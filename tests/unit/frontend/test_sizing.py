"""The repository that a server is given: as many instances as the machine is to have, all else as it is."""

import os

import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from export.rooms import MODEL_REPOSITORY
from frontend.triton import sizing
from frontend.triton.profiles import ProfileError, config_of, profiles_of
from frontend.triton.sizing import sized_repository


def files(folder):
    """Every file that Triton would see below a folder, by its relative path."""
    found = {}
    for base, _, names in os.walk(folder, followlinks=True):
        for name in names:
            path = os.path.join(base, name)
            found[os.path.relpath(path, folder)] = os.path.realpath(path)
    return {name: target for name, target in found.items() if "__pycache__" not in name}


def test_counts_that_are_right_need_no_other_folder(tmp_path):
    assert sized_repository(MODEL_REPOSITORY, "", 1, tmp_path) == MODEL_REPOSITORY
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("profile", profiles_of(MODEL_REPOSITORY))
def test_the_count_differs_and_nothing_else(tmp_path, profile):
    folder = sized_repository(MODEL_REPOSITORY, profile, 3, tmp_path)
    made, source = files(folder), files(MODEL_REPOSITORY)
    assert made.keys() == source.keys()
    changed = [name for name in made if made[name] != source[name]]
    assert len(changed) == 1
    assert changed[0].startswith("asr_stream/")
    for model in ("asr", "asr_stream", "decoder", "vad"):
        wanted = config_of(MODEL_REPOSITORY, model, profile)
        if model == "asr_stream":
            wanted.instance_group[0].count = 3
        assert config_of(folder, model, profile) == wanted


def test_the_next_start_changes_nothing(tmp_path):
    folder = sized_repository(MODEL_REPOSITORY, "", 2, tmp_path)
    path = folder / "asr_stream" / "config.pbtxt"
    before = path.stat().st_mtime_ns
    assert sized_repository(MODEL_REPOSITORY, "", 2, tmp_path) == folder
    assert path.stat().st_mtime_ns == before


def test_servers_of_other_counts_and_profiles_have_their_own(tmp_path):
    asked = [("", 2), ("", 3), ("two_sizes", 2)]
    assert len({sized_repository(MODEL_REPOSITORY, profile, count, tmp_path) for profile, count in asked}) == 3


def test_what_changed_in_the_repository_is_followed(tmp_path):
    source = tmp_path / "source"
    (source / "asr_stream").mkdir(parents=True)
    config = source / "asr_stream" / "config.pbtxt"
    config.write_text('backend: "python" instance_group [ { kind: KIND_CPU count: 1 } ]')
    folder = sized_repository(source, "", 2, tmp_path)
    config.write_text('backend: "python" max_batch_size: 4 instance_group [ { kind: KIND_CPU count: 1 } ]')
    assert sized_repository(source, "", 2, tmp_path) == folder
    made = text_format.Parse((folder / "asr_stream" / "config.pbtxt").read_text(), model_config_pb2.ModelConfig())
    assert (made.max_batch_size, made.instance_group[0].count) == (4, 2)


def test_the_container_is_told_the_folder(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("ASR_PROCESSES", "2")
    monkeypatch.setenv("ASR_CACHE_DIR", str(tmp_path))
    assert sizing.main([str(MODEL_REPOSITORY), "two_sizes"]) == 0
    told = capsys.readouterr().out.strip()
    assert told == str(sized_repository(MODEL_REPOSITORY, "two_sizes", 2, tmp_path))


def test_a_configuration_that_cannot_be_read_is_named(tmp_path, capsys):
    (tmp_path / "asr_stream").mkdir()
    (tmp_path / "asr_stream" / "config.pbtxt").write_text("instance_group {")
    with pytest.raises(ProfileError, match=r"config\.pbtxt cannot be read"):
        sized_repository(tmp_path, "", 2, tmp_path / "cache")
    assert sizing.main([str(tmp_path)]) == 2
    assert "cannot be read" in capsys.readouterr().err
