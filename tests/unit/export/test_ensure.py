"""`export ensure`: what is exported is what is asked for, and nobody's export is replaced by accident."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time

import pytest

from export import ensure, stamp
from export.encoder.other_versions import require_same_weights
from export.ensure import FAST, MAIN, Do, Other, decide, kept, language_model_folder, replacing
from export.errors import ExportError
from export.stamp import FORMAT, Stamp, stamp_of
from tests.conftest import ROOT, TINY, TINY_FAST

REVISION = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def mine(tmp_path):
    """A user's checkpoint."""
    folder = tmp_path / "mine"
    shutil.copytree(TINY_FAST, folder)
    return folder


@pytest.fixture
def repository(tmp_path):
    """The files of an export, as far as they are looked at."""
    repository = tmp_path / "model_repository"
    for name in ("encoder/1/model.onnx", "vad/1/silero_vad.onnx", "encoder/warmup/MEL", "decoder/1/checkpoint/x"):
        (repository / name).parent.mkdir(parents=True)
        (repository / name).touch()
    (language_model_folder(repository, MAIN) / "model.safetensors").touch()
    return repository


def exported(repository, folder, asked=None, revision=None, **changes):
    """As if the checkpoint in `folder` had been exported."""
    made = stamp_of(folder, str(asked or folder), revision)
    Stamp(**{**vars(made), **changes}).write(language_model_folder(repository, MAIN))


@pytest.mark.parametrize("other", list(Other))
def test_nothing_there_is_exported(repository, other):
    (language_model_folder(repository, MAIN) / "model.safetensors").unlink()
    assert decide(str(TINY), repository, MAIN, other) is Do.ASKED


@pytest.mark.parametrize("other", list(Other))
def test_what_is_there_is_left(repository, mine, other):
    exported(repository, mine)
    assert decide(str(mine), repository, MAIN, other) is Do.NOTHING
    exported(repository, TINY)
    assert decide("export/tiny/tiny", ROOT / repository, MAIN, other) is Do.NOTHING


@pytest.mark.parametrize("stamp", [None, "{torn", "[]"])
def test_weights_that_nothing_tells_whose_they_are_stay(repository, stamp):
    if stamp is not None:
        (language_model_folder(repository, MAIN) / "export.json").write_text(stamp)
    for other in (Other.KEEP, Other.REFUSE):
        with pytest.raises(ExportError, match="nothing tells whose"):
            decide(str(TINY), repository, MAIN, other)
    assert decide(str(TINY), repository, MAIN, Other.REPLACE) is Do.ASKED


def test_two_exports_do_not_mix(repository):
    with (
        replacing(repository, MAIN),
        pytest.raises(ExportError, match="another export"),
        replacing(repository, MAIN),
    ):
        pass
    with replacing(repository, MAIN):
        pass


def test_an_engine_of_another_checkpoint_is_not_served_in_place_of_the_new_one(repository):
    second = repository / "encoder" / "2"
    second.mkdir()
    require_same_weights(repository / "encoder", "new")
    for weights, told in (("new", None), ("old", f"rm -r {second}")):
        (second / "model.plan.json").write_text(json.dumps({"weights_sha256": weights}))
        with contextlib.nullcontext() if told is None else pytest.raises(ExportError, match=told):
            require_same_weights(repository / "encoder", "new")


def test_a_checkpoint_that_is_named_replaces_another(repository, mine):
    exported(repository, TINY)
    assert decide(str(mine), repository, MAIN, Other.REPLACE) is Do.ASKED
    assert decide("acme/mine", repository, MAIN, Other.REPLACE) is Do.ASKED


def test_a_users_checkpoint_stays_and_is_told(repository, mine):
    exported(repository, mine)
    assert decide(str(TINY), repository, MAIN, Other.KEEP) is Do.KEEP
    exported(repository, mine, "acme/mine", REVISION)
    assert decide(str(TINY), repository, MAIN, Other.KEEP) is Do.KEEP
    line = kept(repository, MAIN, Stamp.read(language_model_folder(repository, MAIN)))
    assert line == ("model_repository holds acme/mine (revision 0123456789ab); `make serve CHECKPOINT=…` for another")


def test_tests_refuse_a_users_checkpoint(repository, mine):
    exported(repository, mine)
    with pytest.raises(ExportError, match=r"holds .*mine, not .*tiny: `make models CHECKPOINT=.*tiny` replaces it"):
        decide(str(TINY), repository, MAIN, Other.REFUSE)


def test_a_new_format_exports_again_what_is_there(repository, mine, monkeypatch):
    for folder in (TINY, mine):
        exported(repository, folder)
        monkeypatch.setattr(ensure, "FORMAT", FORMAT + 1)
        monkeypatch.setattr(ensure, "READABLE", {FORMAT + 1})
        assert decide(str(TINY), repository, MAIN, Other.KEEP) is (Do.ASKED if folder == TINY else Do.AGAIN)
    # From the hub: the same revision.
    exported(repository, mine, "acme/mine", REVISION)
    assert decide(str(TINY), repository, MAIN, Other.KEEP) is Do.AGAIN
    # What it was made of is gone: never tiny in its place.
    exported(repository, mine)
    (mine / "config.json").unlink()
    with pytest.raises(ExportError, match=rf"in format {FORMAT}, this version needs {FORMAT + 1}: export it again by"):
        decide(str(TINY), repository, MAIN, Other.KEEP)


def test_tiny_that_was_pulled_anew_is_exported_again(repository, tmp_path, mine):
    exported(repository, mine)
    (mine / "config.json").write_text("{}")
    for other in Other:
        assert decide(str(mine), repository, MAIN, other) is Do.ASKED


def test_weights_are_compared_where_their_times_differ(repository, mine):
    exported(repository, mine)
    weights = mine / "model.safetensors"
    before = weights.stat()
    os.utime(weights, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    assert decide(str(mine), repository, MAIN, Other.KEEP) is Do.NOTHING
    # And that is remembered.
    assert Stamp.read(language_model_folder(repository, MAIN)).marks == stamp.marks(mine)
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    os.utime(weights, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert decide(str(mine), repository, MAIN, Other.KEEP) is Do.ASKED


def test_exports_of_before_formats_were_numbered(repository, mine):
    decoder = language_model_folder(repository, MAIN)
    (decoder / "export.json").write_text(json.dumps({"name": "Qwen3-ASR-0.6B", "weights_sha256": "0"}))
    assert decide(str(TINY), repository, MAIN, Other.KEEP) is Do.KEEP
    assert decide("Qwen/Qwen3-ASR-0.6B", repository, MAIN, Other.REPLACE) is Do.ASKED
    (decoder / "export.json").write_text(json.dumps({"name": "tiny", "weights_sha256": "0"}))
    assert decide(str(TINY), repository, MAIN, Other.KEEP) is Do.ASKED


def test_hub_ids_are_known_without_asking(repository, mine):
    exported(repository, mine, "acme/mine", REVISION)
    for asked in ("acme/mine", f"acme/mine@{REVISION}"):
        assert decide(asked, repository, MAIN, Other.REPLACE) is Do.NOTHING
    for asked in ("acme/mine@v2", "acme/other", "other/mine"):
        assert decide(asked, repository, MAIN, Other.REPLACE) is Do.ASKED


def test_an_export_that_is_not_whole_is_made_again(repository, mine):
    exported(repository, mine)
    (repository / "vad" / "1" / "silero_vad.onnx").unlink()
    assert decide(str(mine), repository, MAIN, Other.KEEP) is Do.ASKED
    assert decide(str(TINY), repository, MAIN, Other.KEEP) is Do.AGAIN


def test_an_export_that_was_ended_between_encoder_and_decoder_is_not_whole(repository, mine):
    exported(repository, mine)
    with pytest.raises(KeyboardInterrupt), replacing(repository, MAIN):
        raise KeyboardInterrupt
    # Nothing was replaced.
    assert decide(str(mine), repository, MAIN, Other.KEEP) is Do.NOTHING
    with contextlib.suppress(KeyboardInterrupt), replacing(repository, MAIN):
        (repository / "encoder" / "1" / "model.onnx").unlink()
        (repository / "encoder" / "1" / "model.onnx").write_text("another")
        raise KeyboardInterrupt
    assert decide(str(mine), repository, MAIN, Other.KEEP) is Do.ASKED
    with replacing(repository, MAIN):
        pass
    assert decide(str(mine), repository, MAIN, Other.KEEP) is Do.NOTHING


def test_the_command_is_quick_and_makes_what_is_missing(repository, mine):
    exported(repository, mine)

    def ensure(checkpoint, *options):
        command = [sys.executable, "-X", "importtime", "-m", "export", "ensure", str(checkpoint), *options]
        return subprocess.run(
            [*command, "--repository", str(repository)],
            cwd=ROOT, capture_output=True, text=True, timeout=110, check=False,
        )  # fmt: skip

    made = ensure(mine, "--keep-other", "--fast-checkpoint", TINY_FAST, "--keep-other-fast")
    assert made.returncode == 0, made.stderr
    assert (language_model_folder(repository, FAST) / "export.json").is_file()
    assert (repository / "encoder_fast" / "1" / "model.onnx").stat().st_size > 100_000
    # What was there is left.
    assert (repository / "encoder" / "1" / "model.onnx").stat().st_size == 0
    started = time.monotonic()
    again = ensure(mine)
    assert time.monotonic() - started < 5
    assert (again.returncode, again.stdout) == (0, "")
    imported = {line.rpartition("|")[2].strip() for line in again.stderr.splitlines()}
    assert not imported & {"torch", "transformers", "onnx", "numpy", "huggingface_hub"}
    left = ensure(TINY, "--keep-other")
    assert left.stdout.startswith("model_repository holds ")
    assert left.stdout.count("\n") == 1
    refused = ensure(TINY, "--refuse-other")
    assert refused.returncode == 1
    assert "`make models CHECKPOINT=" in refused.stderr


@pytest.mark.parametrize(
    ("words", "keeps", "fast_keeps"),
    [
        ([], True, True),
        (["CHECKPOINT=acme/mine"], False, True),
        (["FAST_CHECKPOINT=acme/mine"], True, False),
        (["CHECKPOINT=export/tiny/tiny"], False, True),
    ],
)
def test_the_makefile_keeps_what_is_there_unless_a_checkpoint_is_named(words, keeps, fast_keeps):
    # What `make test` was called with is not for the make that is tried here.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    for name in ("CHECKPOINT", "FAST_CHECKPOINT"):
        environment.pop(name, None)
    done = subprocess.run(
        ["make", "--dry-run", "--old-file=setup", "models", *words],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=True,
        env=environment,
    )  # fmt: skip
    (command,) = done.stdout.replace("\\\n", " ").splitlines()
    asked = command.split()[3:]
    assert ("--keep-other" in asked, "--keep-other-fast" in asked) == (keeps, fast_keeps)
    place = {"CHECKPOINT": 1, "FAST_CHECKPOINT": asked.index("--fast-checkpoint") + 1}
    for word in words:
        name, _, checkpoint = word.partition("=")
        assert asked[place[name]] == checkpoint
