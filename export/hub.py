"""A checkpoint by what it is called: a folder as it is, a hub's repository brought into the hub's cache.

The variables of huggingface_hub hold: HF_ENDPOINT, HF_TOKEN, HF_HOME, HF_HUB_OFFLINE.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from export.download import HubFile, download, missing_bytes
from export.errors import ExportError
from export.files import require_space
from export.memory import require_memory

# ORGANISATION/NAME, and a branch, tag or commit where one is asked for.
# SHA-256 of large files, git's SHA-1 of small ones.
HASH = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
HUB_ID = re.compile(r"([A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(?:@([\w./-]+))?")
# What an export reads, of all that a repository may hold: weights, configuration, tokenizer, template.
NEEDED = re.compile(
    r"[\w.-]+\.safetensors|model\.safetensors\.index\.json|(config|generation_config|preprocessor_config|processor_config"
    r"|tokenizer_config|tokenizer|vocab|added_tokens|special_tokens_map|chat_template)\.json|merges\.txt|chat_template\.jinja"
)
# For the list of files: it is small.
ANSWER_TIMEOUT_S = 30.0


@dataclass(frozen=True)
class Source:
    """Where a checkpoint came from. asked: as the user wrote it; revision: the hub's commit, None of a folder."""

    asked: str
    folder: Path
    revision: str | None = None


def resolve(checkpoint: str, revision: str | None = None) -> Source:
    """A folder; or `organisation/name` or `organisation/name@revision` of the hub, downloaded unless the cache has it.

    revision: a commit to take instead of the newest of what is asked for.
    Raises ExportError, in one line, where it is neither, the hub refuses it or cannot be reached, or disk or memory do
    not suffice: before anything is downloaded.
    """
    folder = Path(checkpoint).expanduser()
    if folder.is_dir():
        return Source(checkpoint, folder)
    hub_id = HUB_ID.fullmatch(checkpoint)
    if hub_id is None or folder.exists():
        raise ExportError(f"{checkpoint} is neither a folder nor a hub id such as Qwen/Qwen3-ASR-0.6B")
    return _from_hub(checkpoint, hub_id[1], revision or hub_id[2])


def _from_hub(asked: str, repository: str, wanted: str | None) -> Source:
    from huggingface_hub import HfApi, constants, hf_hub_url, snapshot_download
    from huggingface_hub.errors import (
        HfHubHTTPError,
        HFValidationError,
        HTTPError,
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
    )
    from huggingface_hub.utils import disable_progress_bars

    cache = Path(constants.HF_HUB_CACHE)
    try:
        info = HfApi().model_info(repository, revision=wanted, timeout=ANSWER_TIMEOUT_S, files_metadata=True)
        files = _needed(asked, info)
        blobs = cache / f"models--{repository.replace('/', '--')}" / "blobs"
        missing = sum(missing_bytes(one, blobs) for one in files)
        # What is downloaded, and nothing for what is there already.
        require_space(blobs, missing)
        require_memory(asked, sum(one.num_bytes for one in files if one.name.endswith(".safetensors")))
        # Small files first: a gated repository refuses them as well, and a wrong one is told early.
        for one in sorted(files, key=lambda one: one.num_bytes):
            download(one, hf_hub_url(repository, one.name, revision=info.sha), blobs)
        # Nothing of size is left to show.
        disable_progress_bars()
        snapshot = snapshot_download(repository, revision=wanted, allow_patterns=[one.name for one in files])
    except HFValidationError as error:
        raise ExportError(f"{asked} is no hub id: {_line(error)}") from error
    except HfHubHTTPError as error:
        if error.response.status_code < 500:
            raise ExportError(_refusal(asked, repository, error)) from error
        return _cached(asked, repository, wanted, f"it answered {error.response.status_code}")
    except OfflineModeIsEnabled:
        return _cached(asked, repository, wanted, "HF_HUB_OFFLINE is set")
    except (HTTPError, LocalEntryNotFoundError) as error:
        return _cached(asked, repository, wanted, _line(error))
    except ValueError as error:
        # A log-in page of a network's, a proxy's answer: no json, or an address that is none.
        raise ExportError(f"{constants.ENDPOINT} is no hub: {_line(error)}") from error
    except OSError as error:
        raise ExportError(f"{asked} cannot be kept in {cache}: {error.strerror or _line(error)}") from error
    return Source(asked, Path(snapshot), Path(snapshot).name)


def _needed(asked: str, info: Any) -> list[HubFile]:
    """The files of a repository that an export reads. Raises ExportError where it has no weights for us."""
    wanted = [one for one in info.siblings or [] if NEEDED.fullmatch(one.rfilename)]
    if not any(one.rfilename.endswith(".safetensors") for one in wanted):
        raise ExportError(f"{asked} has no *.safetensors: it is no checkpoint that can be exported")
    files = []
    for one in wanted:
        blob = one.lfs.sha256 if one.lfs else one.blob_id
        # The hash becomes a path of the cache: nothing but a hash may.
        if one.size is None or blob is None or not HASH.fullmatch(blob):
            name = one.rfilename
            raise ExportError(f"the hub does not tell size and hash of {name} of {asked}: HF_ENDPOINT is no full hub")
        files.append(HubFile(one.rfilename, one.size, blob))
    return files


def _cached(asked: str, repository: str, wanted: str | None, reason: str) -> Source:
    """What an earlier run brought, where the hub cannot be asked."""
    from huggingface_hub import constants, snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    unreachable = f"{constants.ENDPOINT} cannot be asked for {asked} ({reason})"
    try:
        folder = Path(
            snapshot_download(repository, revision=wanted, local_files_only=True, allow_patterns=["config.json"])
        )
    except LocalEntryNotFoundError as error:
        raise ExportError(
            f"{unreachable}, and it is not in the cache; the folder of a checkpoint does as well"
        ) from error
    print(f"hub      {unreachable}: revision {folder.name[:12]} from the cache")
    return Source(asked, folder, folder.name)


def _refusal(asked: str, repository: str, error: Any) -> str:
    """The line for an answer that no retry changes."""
    from huggingface_hub import constants, get_token
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

    page = f"{constants.ENDPOINT}/{repository}"
    token = "the token of HF_TOKEN is not of one who has access" if get_token() else "set HF_TOKEN to a token of yours"
    if isinstance(error, GatedRepoError):
        return f"{asked} is gated: accept its terms at {page}; {token}"
    if isinstance(error, RevisionNotFoundError):
        return f"{page} has no such revision: {asked}"
    if isinstance(error, RepositoryNotFoundError):
        return f"{asked} is neither a folder nor at {page}: is it spelled right? If it is private, {token}"
    return f"{page} answered {error.response.status_code}: {_line(error)}"


def _line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
