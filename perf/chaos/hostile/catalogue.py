"""Every kind of hostile input, and how many of each."""

from __future__ import annotations

import random
from collections.abc import Iterator

from perf.chaos.hostile import forms, sessions, tensors, wire
from perf.chaos.hostile.attack import Attack, Kind

# Cheap refusals are many, what costs a connection of its own and seconds are fewer.
KINDS = (
    Kind("files", 14, forms.files),
    Kind("form fields", 14, forms.fields),
    Kind("forms repeated", 4, forms.repeated),
    Kind("forms broken", 6, forms.bodies),
    Kind("forms cut", 2, forms.cut),
    Kind("routes and json", 8, wire.routes),
    Kind("raw http", 6, wire.frames),
    Kind("slow http", 1, wire.slow),
    Kind("websocket", 5, sessions.plain),
    Kind("realtime", 5, sessions.realtime),
    Kind("grpc asr", 7, tensors.asr),
    Kind("grpc vad", 5, tensors.vad),
    Kind("grpc features", 5, tensors.features),
    Kind("grpc encoder", 5, tensors.encoder),
    Kind("grpc decoder", 8, tensors.decoder),
    Kind("grpc asr_stream", 5, tensors.asr_stream),
    Kind("grpc forged", 5, tensors.forged),
)


def attacks(seed: int, count: int, kinds: tuple[Kind, ...] = KINDS) -> Iterator[tuple[int, Kind, Attack]]:
    """So many inputs, numbered: the same ones for the same seed, each made from the seed and its number alone."""
    order = random.Random(f"{seed} kinds").choices(kinds, [kind.share for kind in kinds], k=count)
    for number, kind in enumerate(order):
        yield number, kind, kind.make(random.Random(f"{seed} {number}"))
