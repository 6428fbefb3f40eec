"""What Triton's errors mean: refused, full, or gone and to be asked again."""

from __future__ import annotations

import re

import grpc

# An answer of a stream has a message but no code, so the models put the code in front of it. (Triton's header
# triton_grpc_error gives a true status, and crashed version 2.51 now and then.)
INVALID = "INVALID_ARGUMENT: "
# What a full server says: the decoder and `asr_stream` of their places, Triton of queues that a profile may bound.
BUSY = ("try again later", "maximum queue size", "timeout expired")
# What is said of a model whose process is dead, or which is being loaded again: it will be back.
LOST = ("is not healthy", "unknown model", "is not ready", "no available versions", "Stub process", "not found")
# What it says of its control services where the secret is not theirs.
RESTRICTED = "This protocol is restricted"
# What Triton says of a sequence that it does not know: the model was loaded again, or nothing came for a minute. Where
# only `asr_stream` does not know it, that says so with a code of its own.
FORGOTTEN = ("must specify the START flag",)


class TritonRefused(Exception):
    """Triton answered with an error. `invalid` when the request was at fault, `busy` when its queue is full."""

    def __init__(self, message: str, *, invalid: bool = False, busy: bool = False) -> None:
        super().__init__(message)
        self.invalid = invalid
        self.busy = busy


class TritonUnavailable(Exception):
    """Triton cannot be reached, or did not answer in time."""


class ControlRefused(TritonUnavailable):
    """Triton's control services want another secret than ours, or ours cannot be read."""


def refused(message: str) -> TritonRefused | TritonUnavailable:
    """What an error message of Triton or a model means: TritonUnavailable where the model itself is lost."""
    # An ensemble names itself in front of its step's message.
    message = re.sub(r"^in ensemble '[^']*', ", "", message)
    if message.startswith(INVALID):
        return TritonRefused(message.removeprefix(INVALID), invalid=True)
    if any(sign in message for sign in BUSY):
        return TritonRefused(message, busy=True)
    return TritonUnavailable(message) if any(sign in message for sign in LOST + FORGOTTEN) else TritonRefused(message)


def unavailable(error: grpc.aio.AioRpcError) -> TritonUnavailable:
    """What a call to Triton's control services ended with."""
    return (ControlRefused if RESTRICTED in (error.details() or "") else TritonUnavailable)(details(error))


def details(error: grpc.aio.AioRpcError) -> str:
    """Its code and what was said."""
    return f"{error.code().name.lower()}: {error.details()}"
