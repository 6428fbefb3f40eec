"""Certificates and keys from files: HTTPS for clients, and gRPC over TLS to a Triton that runs elsewhere."""

from __future__ import annotations

import ssl
from pathlib import Path

import grpc

from frontend.settings import Settings


class TlsError(ValueError):
    """A certificate or key cannot be used; the message names the setting and says why, in one line."""


def check(settings: Settings) -> None:
    """Raise TlsError where the files that the settings name cannot serve."""
    if settings.tls_certificate is not None or settings.tls_key is not None:
        _pair("ASR_TLS", settings.tls_certificate, settings.tls_key)
    triton_credentials(settings)


def triton_credentials(settings: Settings) -> grpc.ChannelCredentials | None:
    """What gRPC to Triton is encrypted with; None where no setting asks for it. Raises TlsError."""
    roots, certificate, key = settings.triton_tls_roots, settings.triton_tls_certificate, settings.triton_tls_key
    if roots is None and certificate is None and key is None:
        return None
    if settings.is_embedded:
        raise TlsError(
            "ASR_TRITON_TLS_…: the embedded Triton is on loopback and has no TLS; ASR_TRITON_URL names another"
        )
    trusted = _read("ASR_TRITON_TLS_ROOTS", roots) if roots is not None else None
    if trusted is not None:
        _check_roots("ASR_TRITON_TLS_ROOTS", roots, trusted)
    if certificate is None and key is None:
        return grpc.ssl_channel_credentials(trusted)
    chain, private = _pair("ASR_TRITON_TLS", certificate, key)
    return grpc.ssl_channel_credentials(trusted, private, chain)


def _pair(prefix: str, certificate: Path | None, key: Path | None) -> tuple[bytes, bytes]:
    """A certificate's chain and its key, which are tried here: who uses them later would say less."""
    if certificate is None or key is None:
        raise TlsError(f"{prefix}_CERTIFICATE and {prefix}_KEY are named together, or neither of them")
    chain, private = _read(f"{prefix}_CERTIFICATE", certificate), _read(f"{prefix}_KEY", key)
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password=_no_password)
    except (ssl.SSLError, ValueError) as error:
        why = getattr(error, "reason", None) or str(error)
        raise TlsError(f"{prefix}_CERTIFICATE and {prefix}_KEY: {certificate} and {key} are no pair: {why}") from error
    return chain, private


def _check_roots(name: str, path: Path | None, trusted: bytes) -> None:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=trusted.decode("ascii"))
    except (ssl.SSLError, ValueError) as error:
        raise TlsError(f"{name}: {path} holds no certificates in PEM") from error


def _read(name: str, path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise TlsError(f"{name}: {path} cannot be read: {error.strerror}") from error


def _no_password() -> str:
    raise ValueError("the key wants a password")
