"""python -m frontend: serve until SIGINT or SIGTERM."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Coroutine
from typing import Any

import uvloop
from pydantic import ValidationError

from frontend.app import create_app
from frontend.guard import tls
from frontend.guard.keys import Keys, KeysError
from frontend.guard.tls import TlsError
from frontend.observe import logs
from frontend.server import address_of, serve
from frontend.settings import Settings
from frontend.triton import lives
from frontend.triton.backend import Backend
from frontend.triton.control import NoControlKey, read_key
from frontend.triton.profiles import ProfileError, at_hand, check_exists, models_of
from frontend.triton.startup import decide
from frontend.wording.headed import FilesWrong
from frontend.wording.setting_up import wording_of
from frontend.workers.master import Master


async def print_hints(backend: Backend, url: str) -> None:
    """Once a request would be answered, say what to try. url: of the frontend."""
    while not backend.is_ready():
        await asyncio.sleep(0.1)
    client = backend.current
    address = f", Triton's gRPC at {client.url}" if client is not None else ""
    print(
        f"\n{backend.served_model_name} is ready at {url}{address}. Ctrl-C ends everything. Try:\n"
        f"  curl {url}/v1/audio/transcriptions -F model=whisper-1 -F file=@perf/recordings/english.flac\n"
        f"  curl {url}/health\n"
        f"  open {url}/ in a browser, or {url}/docs\n",
        flush=True,
    )


def planned(settings: Settings) -> Settings:
    """The settings with the profile that this machine is to serve, which is said in the first line of all.

    Raises ProfileError where the one that is named cannot be served.
    """
    if settings.is_embedded:
        plan = decide(settings)
        print(plan.line, flush=True)
        return settings.model_copy(update={"model_config_name": plan.profile})
    if settings.profile is not None and at_hand(settings.model_repository):
        check_exists(settings.model_repository, settings.profile)
        models_of(settings.model_repository, settings.profile)
    return settings


def alone(settings: Settings) -> Coroutine[Any, Any, int]:
    """Serve by this process; to be awaited. Raises KeysError and FilesWrong."""
    app = create_app(settings)
    return serve(app, settings, lambda url: print_hints(app.state.backend, url))


def several(settings: Settings) -> Coroutine[Any, Any, int]:
    """Serve by several processes, which this one starts; to be awaited. Raises KeysError and FilesWrong."""
    wording_of(settings)
    keys = Keys.of(settings)

    async def run() -> int:
        try:
            master = Master(settings, keys)
        except OSError as error:
            print(f"error: {settings.host}:{settings.port} cannot be listened on: {error.strerror}", file=sys.stderr)
            return 1
        return await master.run(lambda backend, listening: print_hints(backend, address_of(listening, settings)))

    return run()


def usage(arguments: list[str]) -> int:
    """What there is to set: by variables, as a container's settings are. Returns the exit code."""
    asked = arguments in (["--help"], ["-h"])
    print("usage: python -m frontend     all settings are variables:", file=sys.stdout if asked else sys.stderr)
    if asked:
        for name, field in Settings.model_fields.items():
            default = "" if field.default_factory is not None or field.default is None else f" [{field.default}]"
            print(f"  ASR_{name.upper()}{default}\n      {field.description}")
    return 0 if asked else 2


def main() -> int:
    try:
        settings = Settings()
    except ValidationError as error:
        for problem in error.errors():
            said = str(problem["msg"]).removeprefix("Value error, ")
            print(f"error: ASR_{str(problem['loc'][0]).upper()}: {said}", file=sys.stderr)
        return 2
    logs.install(settings.log_level, as_json=settings.log_json)
    try:
        if why := lives.trouble(settings):
            print(f"error: {why}", file=sys.stderr)
            return 2
        settings = planned(settings)
        read_key(settings.triton_control_key_file)
        tls.check(settings)
        serving = several(settings) if settings.num_processes > 1 else alone(settings)
    except (ProfileError, KeysError, NoControlKey, TlsError, FilesWrong) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    try:
        return uvloop.run(serving)
    except KeyboardInterrupt:
        # uvicorn has shut down in order by now and passes the signal on.
        return 0


if __name__ == "__main__":
    sys.exit(usage(sys.argv[1:]) if sys.argv[1:] else main())
