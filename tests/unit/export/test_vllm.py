"""The environment in which vLLM decodes: made once, and told why where it cannot be."""

import subprocess

import pytest

from export import vllm
from export.errors import ExportError


def test_it_is_made_once_for_each_build(tmp_path, monkeypatch):
    commands = []
    monkeypatch.setattr(vllm, "_run", lambda command, timeout_s: commands.append(command))
    folder = tmp_path / "environment"
    folder.mkdir()
    assert vllm.install("cuda", folder)
    assert [command[-1] for command in commands] == [str(folder), f"vllm=={vllm.VERSION}"]
    assert not vllm.install("cuda", folder)
    assert len(commands) == 2


def test_why_it_cannot_be_made_is_told(tmp_path, monkeypatch):
    def fail(command, timeout_s):
        raise subprocess.SubprocessError("no such version")

    monkeypatch.setattr(vllm, "_run", fail)
    with pytest.raises(ExportError, match=r"vLLM cannot be installed into .*: no such version"):
        vllm.install("cpu", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_packages_whose_wheels_do_not_load_are_taken_out(tmp_path, monkeypatch):
    commands = []
    monkeypatch.setattr(vllm, "_run", lambda command, timeout_s: commands.append(command))
    monkeypatch.setattr(vllm, "_imports", lambda python, package, timeout_s: package == "torchcodec")
    packages = tmp_path / "lib" / "python3.11" / "site-packages"
    packages.mkdir(parents=True)
    vllm._without_cuda(tmp_path / "bin" / "python", 1.0)
    assert [command[-1] for command in commands] == ["torchaudio"]
    # torchvision is imported whatever is done: it finds the names that it wants.
    compile((packages / "sitecustomize.py").read_text(), "sitecustomize", "exec")


def test_the_extra_and_the_profiles_are_of_the_version_that_is_written_for():
    text = (vllm.FOLDER.parent / "pyproject.toml").read_text()
    assert f'"vllm=={vllm.VERSION}"' in text
    for name in ("vllm", "vllm_cuda"):
        config = vllm.FOLDER.parent / "model_repository" / "decoder" / "configs" / f"{name}.pbtxt"
        assert f"../../../{vllm.FOLDER.name}/bin/python" in config.read_text()
