import errno
import shutil
import subprocess
import sys
from collections import namedtuple

import numpy as np
import onnxruntime
import pytest

from export import decoder as decoder_export
from export import files
from export.checkpoint import Checkpoint
from export.decoder import export_decoder
from export.encoder.onnx_export import example, export_encoder
from export.errors import ExportError
from export.rooms import room
from tests.conftest import ROOT, TINY


def test_the_encoder_equals_pytorch_and_takes_any_number_of_blocks(encoders):
    assert encoders.verified("fp32").max_abs_diff < 1e-4
    path = encoders.path("fp32")
    session = onnxruntime.InferenceSession(path)
    kinds = {one.name: (one.type, one.shape[1:]) for one in session.get_inputs()}
    assert kinds["FRAMES"] == ("tensor(int32)", [1])
    for num_blocks in (1, 5, 64):
        mel, frames, clip_max = (part.numpy() for part in example(num_blocks, 800, seed=num_blocks))
        out = session.run(None, {"MEL": mel, "FRAMES": frames, "CLIP_MAX": clip_max})[0]
        assert out.shape[:2] == (num_blocks, 104)
        assert np.isfinite(out).all()
    assert list(path.parent.iterdir()) == [path]


def test_the_decoder_folder_is_all_the_decoder_needs(tmp_path):
    export_decoder(Checkpoint(TINY), tmp_path / "checkpoint")
    made = room("decoder", "network.loader").read_checkpoint(tmp_path / "checkpoint")
    assert made.template is not None
    assert "embed_tokens.weight" in made.weights
    assert "audio_tower" not in "".join(made.weights)
    # A second export replaces the first.
    export_decoder(Checkpoint(TINY), tmp_path / "checkpoint")
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint"]


def test_a_full_disk_leaves_the_old_files(tmp_path, monkeypatch):
    export_decoder(Checkpoint(TINY), tmp_path / "checkpoint")
    before = sorted(path.name for path in (tmp_path / "checkpoint").iterdir())

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(decoder_export, "save_file", full)
    with pytest.raises(ExportError, match="the disk is full"):
        export_decoder(Checkpoint(TINY), tmp_path / "checkpoint")
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint"]
    assert sorted(path.name for path in (tmp_path / "checkpoint").iterdir()) == before


def test_too_little_space_is_said_before_anything_is_written(tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(files.shutil, "disk_usage", lambda _: usage(10, 10, 0))
    with pytest.raises(ExportError, match=r"needs \d+ MB; its disk has 0 MB free"):
        export_encoder(Checkpoint(TINY), tmp_path / "new" / "model.onnx")
    assert list(tmp_path.iterdir()) == []


def test_a_checkpoint_without_a_tokenizer_is_refused(tmp_path):
    shutil.copytree(TINY, tmp_path / "tiny")
    (tmp_path / "tiny" / "tokenizer.json").unlink()
    with pytest.raises(ExportError, match="has no tokenizer"):
        export_decoder(Checkpoint(tmp_path / "tiny"), tmp_path / "out" / "checkpoint")
    assert list((tmp_path / "out").iterdir()) == []


def test_the_command_fails_with_one_line(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "export", "all", str(tmp_path), "--repository", str(tmp_path / "repository")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("error: ")
    assert not (tmp_path / "repository").exists()
