"""What whoever watches a Triton needs to reach it, and its control services, by the settings."""

from __future__ import annotations

from frontend.guard import tls
from frontend.settings import Settings
from frontend.triton import control
from frontend.triton.client import TritonClient


def client_of(settings: Settings, url: str) -> TritonClient:
    """A client of the Triton at `url`. The secret's file is read when it is needed: it may be written after this."""
    key_file = settings.triton_control_key_file
    return TritonClient(url, lambda: control.read_key(key_file), tls.triton_credentials(settings))


def trouble(settings: Settings) -> str:
    """Why the files that the settings name are of no use, "" where they can be used."""
    try:
        control.read_key(settings.triton_control_key_file)
        tls.triton_credentials(settings)
    except (control.NoControlKey, tls.TlsError) as error:
        return str(error)
    return ""
