"""Every setting of the frontend, from variables prefixed ASR_."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from frontend.cores import MOST_PROCESSES, processes_for, usable_cores
from frontend.triton import addresses
from frontend.triton.status import cache_dir

ROOT = Path(__file__).resolve().parent.parent


def _json_list(value: Any) -> Any:
    """A list, from a variable's text; ValueError with an example where it is none."""
    if not isinstance(value, str):
        return value
    try:
        found = json.loads(value)
    except json.JSONDecodeError:
        found = None
    if not isinstance(found, list):
        raise ValueError(f'{value!r} is not a JSON list, such as ["one", "two"]')
    return found


# Read here, not by pydantic-settings, whose message would not say which variable is wrong.
StringList = Annotated[list[str], NoDecode, BeforeValidator(_json_list)]


class Settings(BaseSettings):
    """One object per process; malformed values are refused at start, and an empty variable is one that is not set."""

    model_config = SettingsConfigDict(env_prefix="ASR_", env_ignore_empty=True, protected_namespaces=())

    host: str = Field(default="127.0.0.1", description="Address the frontend listens on.")
    port: int = Field(default=8100, ge=0, le=65535, description="Port the frontend listens on.")
    processes: str = Field(
        default="auto",
        pattern="^(auto|[1-9][0-9]{0,2})$",
        description="Processes of the frontend that serve on its port, and instances of Triton's models that one "
        f"process would limit; auto: one for every four processors that may be used, {MOST_PROCESSES} at most. A "
        "process of the frontend has some 100 MB.",
    )
    tls_certificate: Path | None = Field(
        default=None, description="A file with the frontend's certificate and its chain, in PEM: HTTPS and wss alone."
    )
    tls_key: Path | None = Field(default=None, description="A file with that certificate's private key, in PEM.")

    triton_url: str | None = Field(
        default=None,
        description="gRPC address (host:port) of a Triton that runs elsewhere; unset: start the embedded one.",
    )
    triton_urls: StringList = Field(
        default=[],
        description="Several Tritons (a JSON list) in its stead: host:port or host:port=weight, dns:///name:port for "
        "all that a name stands for, file:///path for a file with one a line. 0 as a weight drains one.",
    )
    model_repository: Path = Field(
        default=ROOT / "model_repository", description="Model repository of the embedded Triton."
    )
    model_config_name: str | None = Field(
        default=None,
        description="Profile of the embedded Triton, its --model-config-name; `default`: that of a CPU; unset: `cuda` "
        "where a GPU can be used, else `default`.",
    )
    hotwords_dir: Path | None = Field(
        default=None,
        description="A folder of hotword lists that requests may name: files NAME.txt, a phrase a line.",
    )
    device: str = Field(
        default="auto",
        pattern="^(auto|cpu|cuda)$",
        description="Where no profile is named: cpu, cuda, or auto, the GPU where one can be used.",
    )
    triton_grpc_port: int = Field(
        default=8001,
        ge=0,
        le=65535,
        description="The embedded Triton's gRPC port on 127.0.0.1; another one where it is taken. 0: any free one.",
    )
    triton_control_key_file: Path | None = Field(
        default=None,
        description="A file with the secret that Triton's control services ask for; the embedded one makes it.",
    )
    triton_tls_roots: Path | None = Field(
        default=None,
        description="A file with the certificates (PEM) that a Triton elsewhere is trusted by: gRPC goes over TLS.",
    )
    triton_tls_certificate: Path | None = Field(
        default=None, description="A file with the certificate (PEM) that the frontend shows to it, where it asks."
    )
    triton_tls_key: Path | None = Field(default=None, description="A file with that certificate's private key, in PEM.")
    cache_dir: Path = Field(default_factory=cache_dir, description="Where the embedded Triton keeps backends and logs.")
    load: str = Field(
        default="start",
        pattern="^(start|first_request)$",
        description="When Triton's models are loaded: start, or first_request, which waits for them.",
    )
    idle_timeout: float = Field(
        default=0.0,
        ge=0,
        description="Seconds without work after which an embedded Triton is ended, and another's models are unloaded; "
        "the next request brings them back. 0: never.",
    )
    triton_start_timeout_s: float = Field(
        default=120.0, gt=0, description="How long the embedded Triton may take to be ready."
    )
    triton_stop_timeout_s: float = Field(
        default=20.0, gt=0, description="How long it may take to stop before it is killed."
    )

    hang_s: float = Field(
        default=120.0,
        gt=0,
        description="A model that answers nothing for so long is loaded again; more than the longest line before one. "
        "Those that answer at once, decoder and asr_stream, have 30 s at most, as have vad and features where they "
        "compute nothing.",
    )
    served_model_name: str | None = Field(
        default=None, description="Model name in the API; unset: the name of the checkpoint that was exported."
    )
    model_aliases: StringList = Field(
        default=[
            "whisper-1",
            "gpt-transcribe",
            "gpt-4o-transcribe",
            "gpt-4o-mini-transcribe",
            "gpt-4o-transcribe-diarize",
            "gpt-live-transcribe",
            "gpt-realtime-whisper",
        ],
        description="Names (a JSON list) that mean the served model, so that clients work unchanged; a name's dated "
        "snapshots (NAME-2025-12-15) mean it as well.",
    )
    request_timeout_s: float = Field(default=3600.0, gt=0, description="Longest time one transcription may take.")
    max_upload_mb: float = Field(default=512.0, gt=0, description="Largest upload that is accepted.")
    max_audio_seconds: float = Field(
        default=4 * 3600.0, gt=0, description="Longest audio of one request; it is cut at pauses."
    )
    segment_timeout_s: float = Field(
        default=300.0,
        gt=0,
        description="How long one segment of a recording may take, with all attempts where models fail or are full.",
    )
    segments_at_a_time: int = Field(
        default=8, ge=1, description="Segments of one recording that are transcribed at the same time."
    )
    api_keys: StringList = Field(
        default=[], description="Keys (a JSON list) that clients must send as bearer tokens; none: anybody may ask."
    )
    api_keys_file: Path | None = Field(default=None, description="A file with such keys, one a line.")
    requests_per_minute: float = Field(
        default=0.0, ge=0, description="Requests of one key (of all clients, without keys) a minute; 0: any number."
    )
    requests_at_a_time: int = Field(
        default=0, ge=0, description="Requests and live sessions of one key at the same time; 0: any number."
    )
    max_uploads: int = Field(
        default_factory=lambda: max(64, 8 * (os.cpu_count() or 1)),
        ge=1,
        description="Uploads that are worked on at a time; more are refused at once, so that these keep their latency: "
        "as many as keep Triton busy (16 for two cores with the tiny checkpoint); unset: 64, or eight a processor. "
        "Four times as many may be on their way.",
    )
    max_uploads_mb: float = Field(
        default=4096.0, gt=0, description="Uploads on the disk and in memory at a time, in all; more are refused."
    )
    client_share: float = Field(
        default=0.5,
        gt=0,
        le=1,
        description="The share of the places for uploads that are on their way, and of max_uploads_mb, that one client "
        "(a key; without keys an address) may have at most.",
    )
    body_idle_s: float = Field(
        default=20.0, gt=0, description="A request's body may bring nothing for so long before it is refused."
    )
    min_upload_kb_s: float = Field(
        default=4.0, ge=0, description="The slowest upload, on average after the first body_idle_s; 0: any."
    )
    decoders: int = Field(default=4, ge=1, description="Threads that decode uploads.")
    max_waiting_for_decoders: int = Field(
        default=64, ge=0, description="Parts of uploads that may wait for them; new uploads are refused beyond."
    )
    decode_part_s: float = Field(
        default=20.0,
        gt=0,
        description="How long decoding ten seconds of an upload may take; what takes longer is given up.",
    )
    max_connections: int = Field(default=4096, ge=1, description="Connections at a time, in all; more are refused.")
    request_header_s: float = Field(
        default=20.0, gt=0, description="How long a connection may wait for its request, headers included."
    )
    slow_reader_s: float = Field(
        default=30.0, gt=0, description="A client that is so late in reading what it is told is dropped."
    )
    max_live_sessions: int = Field(
        default=512, ge=1, description="WebSockets at a time, in all; more are refused at once."
    )
    live_silence_s: float = Field(
        default=120.0, gt=0, description="A live session without sound for so long is finished, whatever else it sends."
    )
    live_ahead_s: float = Field(
        default=60.0,
        gt=0,
        description="Seconds of sound that a live session may send ahead of the clock; then it is read at its pace.",
    )
    live_gather_ms: float = Field(
        default=150.0,
        ge=0,
        le=1000,
        description="Sound of a live session waits so long at most for more of it, and goes to Triton in one request, "
        "which makes a stream cheaper; beginnings are later by as much at most. Within an utterance Triton tells with "
        "which sample there is more to say: what comes before waits for that, a second at most. What else comes after "
        "a pause, and commands, go at once. 0: each message is a request.",
    )
    live_messages_per_s: float = Field(
        default=20.0,
        gt=0,
        description="Commands and settings of a live session a second, on average; a hundred may come at once.",
    )
    live_message_mb: float = Field(
        default=4.0,
        gt=0,
        description="Largest message of /ws/transcribe. (One of Realtime may hold 15 MB of sound, as OpenAI has it.)",
    )
    cors_origins: StringList = Field(
        default=[],
        description="Origins (a JSON list) whose pages may ask from a browser, over HTTP and WebSockets, beside this "
        'server\'s own; ["*"] is every one.',
    )
    hosts: StringList = Field(
        default=[],
        description='Names (a JSON list; "*.example.org": all below one) that this server answers to; addresses and '
        "localhost always. Unset: to any, and a page of a name with a dot may only ask over TLS.",
    )
    filters_dir: Path | None = Field(
        default=None, description="A folder with lists of words (NAME.txt, NAME.CODE.txt) that requests may filter by."
    )
    correction_url: str | None = Field(
        default=None,
        pattern="^https?://",
        description="A chat endpoint of OpenAI's form, with its /v1, which corrects texts where requests ask for that.",
    )
    correction_model: str | None = Field(default=None, description="The name of its model.")
    correction_key: str | None = Field(default=None, description="Its key, sent as a bearer token.")
    correction_key_file: Path | None = Field(default=None, description="A file with that key.")
    correction_timeout_s: float = Field(
        default=10.0,
        gt=0,
        le=600,
        description="How long it may take for one text, and how long may be waited for a place.",
    )
    correction_roles_dir: Path | None = Field(
        default=None, description="A folder with roles (NAME.txt): what it may be asked to do, by name."
    )
    log_json: bool = Field(default=False, description="Log one JSON object a line.")
    otlp_endpoint: str | None = Field(
        default=None, description="Where traces go (OTLP over HTTP, such as http://127.0.0.1:4318); unset: nowhere."
    )
    drain_timeout_s: float = Field(
        default=20.0, gt=0, description="How long requests and live sessions may take to end when the frontend stops."
    )
    log_level: str = Field(
        default="info", pattern="^(debug|info|warning|error)$", description="Level of the frontend's log."
    )

    @field_validator("triton_urls")
    @classmethod
    def _are_addresses(cls, urls: list[str]) -> list[str]:
        addresses.parsed(urls)
        return urls

    @property
    def is_embedded(self) -> bool:
        """Whether Triton is started here, because nobody named one that runs elsewhere."""
        return self.triton_url is None and not self.triton_urls

    @property
    def num_processes(self) -> int:
        """Of the setting `processes`."""
        if self.processes != "auto":
            return int(self.processes)
        return processes_for(usable_cores())

    @property
    def profile(self) -> str | None:
        """The profile that was named, "" for the default one; None: nobody named any."""
        return "" if self.model_config_name == "default" else self.model_config_name
