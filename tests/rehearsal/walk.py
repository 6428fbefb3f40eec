"""The walk: from a clone to a swapped engine, every command as export/README.md has it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.rehearsal.host import RehearsalFailed
from tests.rehearsal.user import User, own, python_for_users

ENGLISH = "four two seven nine zero one five"
CLIP = "perf/recordings/english.flac"
ASK = (
    "curl --silent --show-error --fail-with-body localhost:$ASR_PORT/v1/audio/transcriptions "
    f"-F model=whisper-1 -F file=@{CLIP}"
)


@dataclass
class Ledger:
    """What passed."""

    passed: list[str] = field(default_factory=list)

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        print(f"\n# {name}", flush=True)
        yield
        self.passed.append(name)


def check(holds: bool, otherwise: str) -> None:
    if not holds:
        raise RehearsalFailed(otherwise)


def build(user: User) -> None:
    user.types("docker compose build exporter-cpu triton-cpu frontend-cpu", timeout_s=2_400)


def export(user: User) -> None:
    """The exporter's files are the cloning user's, and everybody's to read."""
    user.types("docker compose run --rm exporter-cpu all export/tiny/tiny --aligner export/tiny/tiny-aligner")
    user.types("docker compose run --rm exporter-cpu all --fast export/tiny/tiny-fast")
    user.types("docker compose run --rm exporter-cpu speakers")
    for path in made(user.clone):
        check(path.stat().st_uid == user.uid, f"{path} belongs to {path.stat().st_uid}, not to {user.uid}")
        check(bool(path.stat().st_mode & 0o004), f"{path} cannot be read by the server's user")


def made(clone: Path) -> list[Path]:
    """What the exporter leaves for the server."""
    repository = clone / "model_repository"
    return [
        repository / "encoder" / "1" / "model.onnx",
        repository / "decoder" / "1" / "checkpoint" / "model.safetensors",
        repository / "decoder_fast" / "1" / "checkpoint" / "model.safetensors",
        repository / "encoder_aligner" / "1" / "model.onnx",
        repository / "aligner" / "1" / "checkpoint" / "model.safetensors",
        repository / "speakers" / "1" / "checkpoint" / "speakers.onnx",
        repository / "vad" / "1" / "silero_vad.onnx",
    ]


def up(user: User, variables: str = "") -> None:
    user.types(f"{variables} docker compose --profile cpu up --detach".strip())
    user.until("curl --silent --fail localhost:$ASR_PORT/health/ready", "ready")


def word_times(user: User) -> None:
    """An aligner that was exported is served without another word."""
    fields = "-F response_format=verbose_json -F 'timestamp_granularities[]=word'"
    words = json.loads(user.types(f"{ASK} {fields}"))["words"]
    check(" ".join(word["word"] for word in words) == ENGLISH, f"other words: {words}")
    times = [time for word in words for time in (word["start"], word["end"])]
    check(times == sorted(times) and times[-1] > times[0] + 2, f"no times: {words}")


def speakers(user: User) -> None:
    fields = "-F response_format=diarized_json"
    segments = json.loads(user.types(f"{ASK} {fields}"))["segments"]
    check({one["speaker"] for one in segments} == {"A"}, f"one person speaks, and these are told: {segments}")


def clients(user: User) -> None:
    """What somebody installs who only speaks to the server: no torch, no Triton."""
    user.types(f"{python_for_users()} -m venv .venv && .venv/bin/pip install --quiet -e '.[clients]'", timeout_s=900)


def file_by_curl(user: User) -> None:
    answer = user.types(ASK)
    check(f'"text":"{ENGLISH}"' in answer, f"not the words of {CLIP}: {answer}")


def live_by_websocket(user: User) -> list[str]:
    """The events' lines."""
    line = f".venv/bin/python -m tests.rehearsal.websocket_client ws://localhost:$ASR_PORT/ws/transcribe {CLIP}"
    lines = user.types(line).strip().splitlines()
    check(lines[-1] == f"final {ENGLISH}", f"not the words of {CLIP}: {lines[-1]}")
    check(any(line.startswith("partial") for line in lines), "no partial came")
    return lines


def grpc_client(user: User) -> None:
    answer = user.types(f".venv/bin/python -m perf.live_client 127.0.0.1:$TRITON_GRPC_PORT {CLIP}")
    check(ENGLISH in answer, f"not the words of {CLIP}: {answer[-500:]}")


def perf_analyzer(user: User) -> None:
    line = ".venv/bin/python -m perf analyzer asr --url http://localhost:$ASR_PORT --levels 1 2"
    if user.variables["TRITON_GRPC_PORT"] != "8001":
        # Published elsewhere, because the usual port of this host is taken: that has to be said.
        line += " --grpc localhost:$TRITON_GRPC_PORT"
    answer = user.types(line, timeout_s=900)
    check("per_second" in answer, f"no table: {answer[-1_000:]}")


def swap_and_back(user: User) -> None:
    """A second engine, loaded under load and taken away again: no request fails, every answer is right."""
    user.types("docker compose run --rm exporter-cpu encoder export/tiny/tiny --precision fp16 --version 2")
    engines = "torch model_repository/encoder/1/model.onnx model_repository/encoder/2/model.onnx"
    answer = user.types(f"docker compose run --rm exporter-cpu verify export/tiny/tiny {engines} --agreement 0.99")
    check("100" in answer, f"the engines do not agree: {answer[-1_000:]}")
    load = "curl --silent --fail {}-X POST localhost:$TRITON_HTTP_PORT/v2/repository/models/encoder/load"
    user.types(load.format(""), fails=True)
    secret = "docker compose exec -T triton-cpu cat /control/key"
    load = load.format(f'-H "asr-control: $({secret})" ')
    versions = "curl --silent --fail localhost:$TRITON_HTTP_PORT/v2/models/encoder"
    with asking(user) as answers:
        user.types(load)
        check('"versions":["2"]' in user.types(versions), "version 2 does not serve")
        file_by_curl(user)
        user.types("rm -r model_repository/encoder/2")
        user.types(load)
        check('"versions":["1"]' in user.types(versions), "version 1 does not serve again")
        file_by_curl(user)
    check(len(answers) >= 4, f"only {len(answers)} requests were asked meanwhile")
    wrong = [answer for answer in answers if f'"text":"{ENGLISH}"' not in answer]
    check(not wrong, f"{len(wrong)} of {len(answers)} requests failed: {wrong[:1]}")
    print(f"  {len(answers)} files were transcribed meanwhile, none failed", flush=True)


@contextmanager
def asking(user: User, clients: int = 2) -> Iterator[list[str]]:
    """Clients that post files one after another, for as long as this is held; their answers."""
    answers: list[str] = []
    stop = threading.Event()

    def ask() -> None:
        while not stop.is_set():
            try:
                answers.append(user.types(ASK, quiet=True, timeout_s=60))
            except RehearsalFailed as failure:
                answers.append(str(failure))

    threads = [threading.Thread(target=ask) for _ in range(clients)]
    for thread in threads:
        thread.start()
    try:
        yield answers
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def two_sizes(user: User) -> None:
    """A profile by one name: its models are loaded, its partials come."""
    up(user, "PROFILE=two_sizes")
    check(any("checkpoint=fast" in line for line in live_by_websocket(user)), "no partial of the small checkpoint")
    file_by_curl(user)


def keys(user: User) -> None:
    up(user, "ASR_API_KEYS='[\"a-secret\"]'")
    refused = user.types(ASK, fails=True)
    check("401" in refused, f"a request without a key was not refused: {refused}")
    answer = user.types(f"{ASK} -H 'Authorization: Bearer a-secret'")
    check(ENGLISH in answer, f"a request with a key was not answered: {answer}")
    up(user)
    file_by_curl(user)


def grpc_clients_alone(user: User) -> None:
    """The server without a frontend: a model whose process is killed comes back by itself."""
    down(user)
    user.types("docker compose up --detach triton-cpu")
    ask = f".venv/bin/python -m perf.live_client 127.0.0.1:$TRITON_GRPC_PORT {CLIP}"
    check(ENGLISH in user.until(ask, "ready"), f"not the words of {CLIP}")
    # The pattern does not match the line that it stands in.
    stub = "grep -l 'decoder/1/mode[l].py' /proc/[0-9]*/cmdline | cut -d/ -f3"
    user.types(f'docker compose exec -T triton-cpu bash -c "kill -9 $({stub})"'.replace("$", "\\$"))
    user.until("docker compose logs --no-color triton-cpu | grep 'decoder is back after'", "healed")
    check(ENGLISH in user.types(ask), "not the words of the clip after it was healed")
    down(user)
    up(user)


def another_owner(user: User, uid: int, *, broken: bool = False) -> User:
    """The clone belongs to somebody else: exports are that one's, and the server reads them.

    broken: the weights get the mode that once kept the server from them.
    """
    down(user)
    own(user.clone, uid)
    other = user.as_uid(uid)
    for path in made(user.clone):
        path.unlink()
    export(other)
    if broken:
        other.types("chmod 600 model_repository/decoder/1/checkpoint/model.safetensors")
    up(other)
    file_by_curl(other)
    return other


def gpu_images(user: User) -> None:
    """The images of a GPU host build, have one ONNX Runtime each, and begin; there is no GPU to run them on."""
    user.types("docker compose build triton exporter", timeout_s=2_400)
    for image in ("asr-rehearsal-triton", "asr-rehearsal-exporter"):
        listed = user.types(f"docker run --rm --entrypoint pip {image} list 2>/dev/null | grep -i ^onnxruntime")
        check(len(listed.split()) == 2 and "onnxruntime-gpu" in listed, f"{image} has {listed}")
    mount = "--volume $PWD/model_repository:/source/model_repository"
    user.types(f"docker run --rm {mount} asr-rehearsal-exporter tensorrt --dry-run --preset rtx4090")


def down(user: User) -> None:
    user.types("docker compose --profile cpu down")
