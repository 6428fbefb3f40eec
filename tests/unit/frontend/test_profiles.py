"""What a profile loads and needs, read from the repository itself."""

import shutil
import subprocess
import sys

import pytest

from frontend.triton import profiles
from frontend.triton.profiles import ProfileError, Server
from tests.conftest import ROOT

REPOSITORY = ROOT / "model_repository"
PYTHON = Server(frozenset({"python"}))
PYTHON_ON_CPU = Server(frozenset({"python"}), "no GPU can be used")
CONTAINER = Server(frozenset({"python", "onnxruntime", "tensorrt"}))


HAS_ALIGNER, HAS_SPEAKERS = profiles.has_aligner, profiles.has_speakers


@pytest.fixture(autouse=True)
def _no_aligner(monkeypatch):
    """Whether one is exported here is another matter."""
    monkeypatch.setattr(profiles, "has_aligner", lambda *_: False)
    monkeypatch.setattr(profiles, "has_speakers", lambda *_: False)


@pytest.fixture
def _vllm(monkeypatch):
    """Installed, whether or not it is."""
    monkeypatch.setattr(profiles, "has_python", lambda *_: True)


def test_speakers_are_told_apart_where_an_encoder_and_its_record_are(tmp_path, monkeypatch):
    monkeypatch.setattr(profiles, "has_speakers", HAS_SPEAKERS)
    folder = tmp_path / "speakers" / "1" / "checkpoint"
    folder.mkdir(parents=True)
    (folder / "speakers.onnx").touch()
    assert "speakers" not in profiles.models_of(tmp_path)
    (folder / "speakers.json").touch()
    assert profiles.models_of(tmp_path)[-1] == "speakers"


@pytest.mark.parametrize(
    ("there", "profile", "found"),
    [
        (("aligner/1/checkpoint/model.safetensors", "encoder_aligner/1/model.onnx"), "", True),
        (("aligner/1/checkpoint/model.safetensors", "encoder_aligner/1/model.onnx"), "tensorrt", False),
        (("aligner/1/checkpoint/model.safetensors", "encoder_aligner/2/model.plan"), "tensorrt", True),
        (("aligner/1/checkpoint/model.safetensors",), "", False),
        (("encoder_aligner/1/model.onnx",), "", False),
    ],
)
def test_an_aligner_is_loaded_where_all_of_it_is_exported(tmp_path, monkeypatch, there, profile, found):
    monkeypatch.setattr(profiles, "has_aligner", HAS_ALIGNER)
    for room in ("encoder", "encoder_aligner", "asr_stream"):
        for path in (REPOSITORY / room).glob("**/*.pbtxt"):
            copy = tmp_path / path.relative_to(REPOSITORY)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_text(path.read_text())
    # The aligner's encoder has the encoder's configurations.
    shutil.copytree(REPOSITORY / "encoder" / "configs", tmp_path / "encoder_aligner" / "configs", dirs_exist_ok=True)
    for name in there:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert profiles.has_aligner(tmp_path, profile) is found
    assert ("align" in profiles.models_of(tmp_path, profile)) is found


@pytest.mark.parametrize("profile", profiles.profiles_of(REPOSITORY))
def test_two_sizes_load_the_small_rooms_that_streams_ask(profile):
    expected = ("asr", "asr_step", "asr_stream")
    if profile.endswith("two_sizes"):
        expected += ("asr_step_fast",)
    assert profiles.models_of(REPOSITORY, profile) == expected


def test_backends_are_judged_of_what_a_profile_loads_alone():
    rooms = {"asr", "asr_step", "asr_stream", "vad", "features", "encoder", "decoder"}
    assert set(profiles.backends_of(REPOSITORY)) == rooms
    assert set(profiles.backends_of(REPOSITORY, "speculative")) == rooms | {"encoder_fast"}
    assert set(profiles.backends_of(REPOSITORY, "two_sizes")) == rooms | {
        "asr_step_fast",
        "encoder_fast",
        "decoder_fast",
    }
    assert set(profiles.backends_of(REPOSITORY, "speculative").values()) == {"python", "ensemble"}
    assert profiles.backends_of(REPOSITORY, "tensorrt")["encoder"] == "tensorrt"
    assert profiles.backends_of(REPOSITORY, "onnx_cpu")["encoder"] == "onnxruntime"


@pytest.mark.usefixtures("_vllm")
def test_what_runs_where():
    on_cpu = ["", "speculative", "two_sizes", "vllm"]
    assert profiles.runnable(REPOSITORY, PYTHON_ON_CPU) == on_cpu
    assert {"cuda", "rtx", "vllm_cuda"} == set(profiles.runnable(REPOSITORY, PYTHON)) - set(on_cpu)
    assert profiles.runnable(REPOSITORY, CONTAINER) == profiles.profiles_of(REPOSITORY)


@pytest.mark.parametrize(
    ("profile", "server", "why"),
    [
        ("tensorrt", PYTHON, "encoder wants tensorrt"),
        ("onnx_cpu", PYTHON, "encoder wants onnxruntime"),
        ("tensorrt_two_sizes", PYTHON, "encoder wants tensorrt, encoder_fast wants tensorrt"),
        ("cuda", PYTHON_ON_CPU, "no GPU can be used"),
        ("rtx", PYTHON_ON_CPU, "no GPU can be used"),
        ("fast", PYTHON_ON_CPU, "there is none of that name"),
    ],
)
def test_a_refusal_is_one_line_that_names_what_can_be_served(profile, server, why):
    with pytest.raises(ProfileError) as raised:
        profiles.check_runs(REPOSITORY, profile, server)
    assert why in str(raised.value)
    assert str(raised.value).endswith(", ".join(map(profiles.named, profiles.runnable(REPOSITORY, server))))
    assert "\n" not in str(raised.value)


def test_vllm_is_served_where_it_is_installed(tmp_path):
    left_out = shutil.ignore_patterns("1", "configs")
    for model in ("decoder", "asr", "asr_step", "asr_stream", "encoder_aligner"):
        shutil.copytree(REPOSITORY / model, tmp_path / "models" / model, ignore=left_out, symlinks=True)
    (tmp_path / "models" / "decoder" / "1").mkdir()
    (tmp_path / "models" / "decoder" / "configs").mkdir()
    shutil.copy(REPOSITORY / "decoder" / "configs" / "vllm.pbtxt", tmp_path / "models" / "decoder" / "configs")
    with pytest.raises(ProfileError, match="vLLM, by which decoder decodes there, is not installed: `python -m export"):
        profiles.check_runs(tmp_path / "models", "vllm", PYTHON_ON_CPU)
    python = tmp_path / ".venv-vllm" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.touch()
    profiles.check_runs(tmp_path / "models", "vllm", PYTHON_ON_CPU)


def test_a_configuration_that_cannot_be_read_is_named(tmp_path):
    (tmp_path / "asr_stream").mkdir()
    (tmp_path / "asr_stream" / "config.pbtxt").write_text("nonsense {")
    with pytest.raises(ProfileError, match=r"asr_stream/config\.pbtxt cannot be read"):
        profiles.models_of(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "code", "printed"),
    [
        ([str(REPOSITORY)], 0, "asr asr_step asr_stream"),
        ([str(REPOSITORY), ""], 0, "asr asr_step asr_stream"),
        ([str(REPOSITORY), "tensorrt_two_sizes"], 0, "asr asr_step asr_stream asr_step_fast"),
        ([str(REPOSITORY), "fast"], 2, ""),
        (["/nowhere"], 2, ""),
    ],
)
def test_the_command_that_the_container_asks(arguments, code, printed):
    done = subprocess.run(
        [sys.executable, "-m", "frontend.triton.profiles", *arguments],
        cwd=ROOT, capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    # Behind them, an aligner and a speaker encoder where they are exported.
    told = done.stdout.strip().removesuffix(" speakers").removesuffix(" align")
    assert (done.returncode, told) == (code, printed)
    assert done.stderr.count("\n") == (code != 0)
