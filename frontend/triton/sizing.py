"""How many processes a model has: the machine's, not the repository's, to say.

Triton takes the count of a model's instances from its configuration alone; a model's code cannot tell it. So a server
is given a folder of links to the repository, in which the configuration in force of each model below is written anew
with its count. Whoever loads the model again, and why, gets the same.

python -m frontend.triton.sizing REPOSITORY [PROFILE]      the repository to serve, by ASR_PROCESSES
"""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path

from google.protobuf import text_format

from frontend.settings import Settings
from frontend.triton.profiles import DEFAULT, DEFAULT_WORD, ProfileError, config_of, path_of

# Models whose process is one Python interpreter that many clients need at once. `vad`, `features` and `encoder` compute
# on as many threads as there are cores, outside of the interpreter; the decoder's sessions live in one process.
SIZED = ("asr_stream",)


def sized_repository(repository: Path, profile: str, processes: int, cache_dir: Path) -> Path:
    """The repository itself where its counts are right, else a folder in `cache_dir` that stands for it.

    Raises ProfileError where a configuration cannot be read.
    """
    configs = {model: config_of(repository, model, profile) for model in SIZED}
    changed = {}
    for model, config in configs.items():
        groups = config.instance_group
        if len(groups) == 1 and groups[0].count != processes:
            groups[0].count = processes
            changed[model] = text_format.MessageToString(config)
    if not changed:
        return repository
    # Servers that run beside each other may need different ones; the next start finds its own again.
    told = f"{repository.absolute()}\n{profile}\n{processes}"
    folder = cache_dir / "repositories" / hashlib.sha256(told.encode()).hexdigest()[:16]
    for path in sorted(repository.absolute().iterdir()):
        if path.name not in changed:
            _link(folder / path.name, path)
    for model, text in changed.items():
        config_path = path_of(repository, model, profile).absolute()
        _mirror(folder / model, repository.absolute() / model, config_path, text)
    return folder


def _mirror(folder: Path, source: Path, config_path: Path, text: str) -> None:
    """Links to all in `source`, but for one file in it or in a folder of it."""
    for path in sorted(source.iterdir()):
        if path == config_path:
            _write(folder / path.name, text)
        elif path in config_path.parents:
            _mirror(folder / path.name, path, config_path, text)
        else:
            _link(folder / path.name, path)


def _link(link: Path, target: Path) -> None:
    if not (link.is_symlink() and link.readlink() == target):
        fresh = _beside(link)
        fresh.symlink_to(target)
        fresh.replace(link)


def _write(path: Path, text: str) -> None:
    # A file that is written again makes Triton load what has not changed.
    if path.is_symlink() or not path.is_file() or path.read_text(encoding="utf-8") != text:
        fresh = _beside(path)
        fresh.write_text(text, encoding="utf-8")
        fresh.replace(path)


def _beside(path: Path) -> Path:
    """A name to make something by, which a rename then puts in place in one step: another process may do the same."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}-{os.getpid()}")
    fresh.unlink(missing_ok=True)
    return fresh


def main(arguments: list[str]) -> int:
    """Print the repository to serve; 2 where that cannot be told."""
    if not 1 <= len(arguments) <= 2:
        print("usage: python -m frontend.triton.sizing REPOSITORY [PROFILE]", file=sys.stderr)
        return 2
    profile = arguments[1] if len(arguments) == 2 and arguments[1] != DEFAULT_WORD else DEFAULT
    try:
        settings = Settings()
        print(sized_repository(Path(arguments[0]), profile, settings.num_processes, settings.cache_dir))
    except (ProfileError, ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
