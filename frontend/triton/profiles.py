"""Profiles of a model repository: which there are, what has to be loaded for one, and which backends it needs.

A profile is a name: a model that has `configs/NAME.pbtxt` takes that, any other keeps its `config.pbtxt`. The default
profile's name is "".

python -m frontend.triton.profiles REPOSITORY [PROFILE]      the models to load, on one line
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

DEFAULT = ""
# How the default profile is called by those who type.
DEFAULT_WORD = "default"
# Files and live streams; every profile serves both.
SERVED = ("asr", "asr_stream")
# A live session asks its step by gRPC, so that Triton does not know that it belongs to it.
LOADED = ("asr", "asr_step", "asr_stream")
# Where an aligner is exported: when each word was said.
ALIGN = "align"
# Where a speaker encoder is exported: who spoke.
SPEAKERS = "speakers"
# Parameters of a live session that name more of them.
ASKED_BY_STREAMS = ("fast_step",)
PLATFORMS = {"tensorrt_plan": "tensorrt", "onnxruntime_onnx": "onnxruntime", "ensemble": "ensemble"}
# By backend, what an exported encoder is.
ENGINES = {"tensorrt": "model.plan", "onnxruntime": "model.onnx", "python": "model.onnx"}
ALIGNER_ENCODER, ALIGNER_WEIGHTS = "encoder_aligner", "aligner/1/checkpoint/model.safetensors"
SPEAKER_FILES = ("speakers.onnx", "speakers.json")
# Part of every server, a backend of no folder.
BUILT_IN = "ensemble"


@dataclass(frozen=True)
class Server:
    """What a Triton can do. backends: names of its backends; no_gpu: why no GPU can be used, "" where one can."""

    backends: frozenset[str]
    no_gpu: str = ""


class ProfileError(ValueError):
    """A profile that cannot be served; the message is one line for whoever typed its name."""


def named(profile: str) -> str:
    """A profile's name as people read and type it."""
    return profile or DEFAULT_WORD


def profiles_of(repository: Path) -> list[str]:
    """Every profile that some model has a configuration of, the default one first.

    Raises ProfileError where there is no repository.
    """
    if not repository.is_dir():
        raise ProfileError(f"there is no model repository at {repository}")
    return [DEFAULT, *sorted({path.stem for path in repository.glob("*/configs/*.pbtxt")})]


def models_of(repository: Path, profile: str = DEFAULT) -> tuple[str, ...]:
    """What has to be loaded by name for a profile; the steps of an ensemble come along by themselves.

    Raises ProfileError where a configuration cannot be read.
    """
    speaks_to = _parameters(config_of(repository, "asr_stream", profile))
    beside = [speaks_to[name] for name in ASKED_BY_STREAMS if speaks_to.get(name)]
    aligned = (ALIGN,) if has_aligner(repository, profile) else ()
    told_apart = (SPEAKERS,) if has_speakers(repository) else ()
    return (*LOADED, *dict.fromkeys(beside), *aligned, *told_apart)


def has_aligner(repository: Path, profile: str = DEFAULT) -> bool:
    """Whether all is there that a server of this profile loads for word times.

    Raises ProfileError where a configuration cannot be read.
    """
    config = config_of(repository, ALIGNER_ENCODER, profile)
    engine = ENGINES.get(PLATFORMS.get(config.platform, config.backend), ENGINES["python"])
    versions = (repository / ALIGNER_ENCODER).glob("[0-9]*")
    return (repository / ALIGNER_WEIGHTS).is_file() and any((one / engine).is_file() for one in versions)


def has_speakers(repository: Path) -> bool:
    """Whether all is there that a server loads to tell speakers apart."""
    return all((repository / SPEAKERS / "1" / "checkpoint" / name).is_file() for name in SPEAKER_FILES)


def has_python(repository: Path, model: str, profile: str) -> bool:
    """Whether the Python is there that a model's configuration names for its engine, where it names one."""
    named = parameter_of(repository, model, profile, "vllm_python")
    return not named or any((version / named).is_file() for version in (repository / model).glob("[0-9]*"))


def backends_of(repository: Path, profile: str = DEFAULT) -> dict[str, str]:
    """Backend of every model that a profile loads, its ensembles' steps among them, by the model's name.

    Raises ProfileError where a configuration cannot be read.
    """
    found: dict[str, str] = {}
    waiting = list(models_of(repository, profile))
    while waiting:
        model = waiting.pop(0)
        if model in found:
            continue
        config = config_of(repository, model, profile)
        # A configuration that names neither is a Python model's, for which Triton wants nothing but its code.
        found[model] = config.backend or PLATFORMS.get(config.platform, "python")
        waiting += [step.model_name for step in config.ensemble_scheduling.step]
    return found


def parameter_of(repository: Path, model: str, profile: str, name: str) -> str:
    """A parameter of a model under a profile, "" where its configuration does not name it."""
    return _parameters(config_of(repository, model, profile)).get(name, "")


def needs_gpu(repository: Path, profile: str = DEFAULT) -> bool:
    """Whether a model that a profile loads computes on an NVIDIA GPU."""
    return any(_on_gpu(config_of(repository, model, profile)) for model in backends_of(repository, profile))


def lacking(repository: Path, profile: str, server: Server) -> str:
    """What a server lacks for a profile, in words; "" where it can serve it."""
    wanted = backends_of(repository, profile).items()
    missing = {model: backend for model, backend in wanted if backend not in server.backends and backend != BUILT_IN}
    if missing:
        return "this Triton does not have its backends (" + _listed(missing) + "): NVIDIA's container does"
    if server.no_gpu and needs_gpu(repository, profile):
        return server.no_gpu
    absent = [model for model, _ in wanted if not has_python(repository, model, profile)]
    if absent:
        return f"vLLM, by which {', '.join(absent)} decodes there, is not installed: `python -m export vllm` does it"
    return ""


def runnable(repository: Path, server: Server) -> list[str]:
    """The profiles that a server can serve."""
    return [profile for profile in profiles_of(repository) if not lacking(repository, profile, server)]


def at_hand(repository: Path) -> bool:
    """Whether this user can read a repository: in a container it may be somebody else's."""
    return os.access(repository / "asr" / "config.pbtxt", os.R_OK)


def check_exists(repository: Path, profile: str) -> None:
    """Raises ProfileError, which names those there are, where no model has a configuration of this profile."""
    known = profiles_of(repository)
    if profile not in known:
        raise ProfileError(f"there is no profile {profile!r} in {repository}; there are {_names(known)}")


def check_runs(repository: Path, profile: str, server: Server) -> None:
    """Raises ProfileError, which names those that do, where a server cannot serve this profile."""
    known = profiles_of(repository)
    reason = lacking(repository, profile, server) if profile in known else f"there is none of that name in {repository}"
    if reason:
        here = _names(runnable(repository, server))
        raise ProfileError(f"the profile {named(profile)!r} cannot be served here: {reason}; these can: {here}")


def _names(profiles: list[str]) -> str:
    return ", ".join(map(named, profiles))


def _listed(missing: dict[str, str]) -> str:
    return ", ".join(f"{model} wants {backend}" for model, backend in missing.items())


def _on_gpu(config: model_config_pb2.ModelConfig) -> bool:
    parameters = _parameters(config)
    kinds = {group.kind for group in config.instance_group}
    return (
        model_config_pb2.ModelInstanceGroup.KIND_GPU in kinds
        or parameters.get("device", "cpu") != "cpu"
        or parameters.get("execution_provider", "cpu") != "cpu"
    )


def path_of(repository: Path, model: str, profile: str) -> Path:
    """The file of a model's configuration under a profile."""
    chosen = repository / model / "configs" / f"{profile}.pbtxt"
    return chosen if profile and chosen.is_file() else repository / model / "config.pbtxt"


def config_of(repository: Path, model: str, profile: str) -> model_config_pb2.ModelConfig:
    """A model's configuration under a profile, an empty one where it has none.

    Raises ProfileError where it cannot be read.
    """
    path = path_of(repository, model, profile)
    if not path.is_file():
        return model_config_pb2.ModelConfig()
    try:
        return text_format.Parse(path.read_text(encoding="utf-8"), model_config_pb2.ModelConfig())
    except (text_format.ParseError, UnicodeDecodeError) as error:
        raise ProfileError(f"{path} cannot be read: {error}") from error


def _parameters(config: model_config_pb2.ModelConfig) -> dict[str, str]:
    return {name: value.string_value for name, value in config.parameters.items()}


def main(arguments: list[str]) -> int:
    """Print what to load; 2 where that cannot be told."""
    if not 1 <= len(arguments) <= 2:
        print("usage: python -m frontend.triton.profiles REPOSITORY [PROFILE]", file=sys.stderr)
        return 2
    repository, profile = Path(arguments[0]), arguments[1] if len(arguments) == 2 else DEFAULT
    profile = DEFAULT if profile == DEFAULT_WORD else profile
    try:
        check_exists(repository, profile)
        print(*models_of(repository, profile))
    except ProfileError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
