"""Requests to Triton's models themselves: tensors, parameters and sequences that do not fit."""

from __future__ import annotations

import math
import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tritonclient.grpc import service_pb2 as pb
from tritonclient.utils import np_to_triton_dtype, serialize_byte_tensor

from perf.chaos.hostile import values
from perf.chaos.hostile.attack import Attack, Infer, Rng

Inputs = dict[str, tuple[list[int], str, bytes]]
DECOUPLED = ("asr", "decoder", "asr_stream")
DATA_TYPES = (
    "FP32",
    "FP64",
    "FP16",
    "INT8",
    "INT16",
    "INT32",
    "INT64",
    "UINT8",
    "UINT64",
    "BOOL",
    "BYTES",
    "BF16",
    "",
    "X",
)
# Where the tiny checkpoint's vocabulary ends, and what it is wide.
VOCABULARY, WIDTH = 361, 128


def asr(rng: Rng) -> Attack:
    inputs = {"PCM": _tensor(_pcm(rng))}
    if rng.random() < 0.3:
        inputs["LANGUAGE"] = _texts(rng)
    if rng.random() < 0.3:
        inputs["CONTEXT"] = _texts(rng)
    names = (
        "vad",
        "threshold",
        "min_speech_ms",
        "min_silence_ms",
        "speech_pad_ms",
        "priority_level",
        "max_new_tokens",
        "temperature",
        "seed",
        "min_new_tokens",
        "repetition_guard",
        "left_context",
        "cancel",
        "session",
        "cached_blocks",
        "keep_blocks",
    )
    return _request(rng, "asr", inputs, names)


def vad(rng: Rng) -> Attack:
    inputs = {"PCM": _tensor(_pcm(rng))}
    if rng.random() < 0.5:
        state = np.full(
            rng.choice((0, 7, 319, 320, 321, 5_000)), rng.choice((0.0, np.nan, np.inf, 3e38)), dtype=np.float32
        )
        inputs["STATE"] = _tensor(state)
    return _request(rng, "vad", inputs, ("vad", "threshold", "min_speech_ms", "min_silence_ms", "speech_pad_ms"))


def features(rng: Rng) -> Attack:
    pcm = _pcm(rng)
    most = max(1, pcm.size)
    edges = [
        rng.choice((0, 1, -1, most, most // 2, most + 1, 2**31 - 1, -(2**31))) for _ in range(2 * rng.randrange(4))
    ]
    spans = np.array(edges, dtype=np.int32).reshape(-1, 2)
    return _request(rng, "features", {"PCM": _tensor(pcm), "SPEECH": _tensor(spans)}, ("left_context", "vad"))


def encoder(rng: Rng) -> Attack:
    blocks = rng.choice((0, 1, 1, 2, 3)) if rng.random() < 0.98 else 65
    length = rng.choice((0, 1, 99, 150, 900)) if rng.random() < 0.3 else rng.choice((100, 200, 400, 800))
    mel = np.full((blocks, 128 if rng.random() < 0.9 else 80, length), _float(rng), dtype=np.float32)
    frames = np.full(
        (rng.choice((blocks, blocks, 1)), 1),
        rng.choice((0, 1, length, length, length, length + 1, -1, 2**31 - 1, -(2**31))),
        dtype=np.int32,
    )
    clip_max = np.full((blocks if rng.random() < 0.9 else 7, 1), _float(rng), dtype=np.float32)
    return _request(
        rng,
        "encoder",
        {"MEL": _tensor(mel), "FRAMES": _tensor(frames), "CLIP_MAX": _tensor(clip_max)},
        ("vad", "session"),
    )


def decoder(rng: Rng) -> Attack:
    """Blocks, drafts, sessions and commands."""
    blocks, rows, width, num_frames = 1, 104, WIDTH, rng.choice((1, 100, 800))
    value = rng.choice((0.0, 0.1, 1e20, 3.4e38))
    if rng.random() < 0.4:
        blocks, rows, width = (
            rng.choice((0, 1, 2)),
            rng.choice((0, 1, 26, 104, 3_000)),
            rng.choice((WIDTH, WIDTH, 64, 0, 1)),
        )
        num_frames, value = rng.choice((0, 100, 800, 801, -1, 2**31 - 1, -(2**31))), _float(rng)
    embeddings = np.full((blocks, rows, width), value, dtype=np.float32)
    frames = np.full((rng.choice((blocks, blocks, 1)), 1), num_frames, dtype=np.int32)
    inputs = {"EMBEDDINGS": _tensor(embeddings), "FRAMES": _tensor(frames)}
    if rng.random() < 0.4:
        low, high = rng.choice(((0, VOCABULARY), (0, VOCABULARY), (-5, VOCABULARY + 5), (-(2**31), 2**31)))
        many = rng.choice((0, 1, 30, 3_000)) if rng.random() < 0.97 else 10**6
        inputs["DRAFT_IDS"] = _tensor(
            np.random.default_rng(rng.randrange(2**32)).integers(low, high, many).astype(np.int32)
        )
    if rng.random() < 0.1:
        inputs["DRAFT_EMBEDDINGS"] = _tensor(embeddings[:1])
    if rng.random() < 0.2:
        inputs[rng.choice(("LANGUAGE", "CONTEXT"))] = _texts(rng)
    names = (
        "priority_level",
        "max_new_tokens",
        "temperature",
        "seed",
        "repetition_guard",
        "session",
        "cached_blocks",
        "keep_blocks",
        "end_session",
        "cancel",
        "min_new_tokens",
    )
    return _request(rng, "decoder", inputs, names)


def asr_stream(rng: Rng) -> Attack:
    """One request of a sequence: begun, never begun, ended at once, somebody's, or none."""
    inputs: Inputs = {}
    if rng.random() < 0.6:
        inputs["PCM"] = _tensor(_pcm(rng))
    if rng.random() < 0.3:
        shorts = np.full(rng.choice((0, 1, 1_600, 960_001)), 32_767, dtype=np.int16)
        inputs["PCM16"] = _tensor(shorts)
    names = (
        "language",
        "context",
        "vad",
        "threshold",
        "prefix_padding_ms",
        "min_speech_ms",
        "silence_ms",
        "max_utterance_s",
        "partial_interval_ms",
        "agreement",
        "debug",
        "command",
        "hold",
        "volume",
    )
    return _request(rng, "asr_stream", inputs, names, sequence=True)


def forged(rng: Rng) -> Attack:
    """Messages whose parts contradict each other: shapes and bytes, types and contents, names of nothing."""
    model = rng.choice(
        (*DECOUPLED, "vad", "features", "encoder", "nothing", "", "asr_fast", "../vad", "a" * 5_000, "é")
    )
    made = pb.ModelInferRequest(model_name=model, model_version=rng.choice(("", "", "1", "-1", "9" * 40, "x")))
    made.id = values.text(rng)[:1_000].encode("utf-8", "ignore").decode()
    for _ in range(rng.randrange(4)):
        shape = [rng.choice((-1, 0, 1, 2, 16_000, 2**31, 2**62, -(2**63))) for _ in range(rng.choice((0, 1, 2, 3, 40)))]
        one = made.inputs.add(
            name=rng.choice(("PCM", "FRAMES", "MEL", "STATE", "", "START", "CORRID", "X")),
            datatype=rng.choice(DATA_TYPES),
        )
        one.shape.extend(shape)
        if rng.random() < 0.2:
            one.parameters["shared_memory_region"].string_param = "region"
            one.parameters["shared_memory_byte_size"].int64_param = rng.choice((1, 2**62, -1))
        if rng.random() < 0.2:
            one.contents.fp32_contents.extend([1.0, math.nan])
            one.contents.bytes_contents.append(b"x")
    for _ in range(rng.randrange(4)):
        made.raw_input_contents.append(
            rng.choice((b"", b"\x00", bytes(64), struct.pack("<I", 2**32 - 1), rng.randbytes(3)))
        )
    for _ in range(rng.randrange(2)):
        one_out = made.outputs.add(name=rng.choice(("TEXT", "X", "", "SPEECH")))
        one_out.parameters[rng.choice(("classification", "shared_memory_region", "x"))].int64_param = rng.choice(
            (-1, 3, 2**62)
        )
    return Infer(made.SerializeToString(deterministic=True), streamed=rng.random() < 0.5)


def _request(rng: Rng, model: str, inputs: Inputs, names: tuple[str, ...], sequence: bool = False) -> Infer:
    """inputs: name -> shape, data type, bytes. A third of the requests is wrong in its tensors, others in their
    parameters."""
    if rng.random() < 0.3:
        inputs = _twisted(rng, dict(inputs))
    made = pb.ModelInferRequest(model_name=model, id=f"hostile-{rng.randrange(2**32)}")
    for name, (shape, data_type, data) in inputs.items():
        one = made.inputs.add(name=name, datatype=data_type)
        one.shape.extend(shape)
        made.raw_input_contents.append(data)
    for name in rng.sample(names, min(len(names), rng.choice((0, 1, 1, 2, 3)))):
        _set(rng, made.parameters[name], name)
    if rng.random() < 0.05:
        _set(rng, made.parameters[rng.choice((*values.RESERVED, 'a"b', "\n", "x" * 3_000))], "")
    if sequence or rng.random() < 0.03:
        if rng.random() < 0.9:
            made.parameters["sequence_id"].int64_param = rng.choice(
                (0, 1, 2**62, rng.randrange(2**62), rng.randrange(2**62))
            )
        else:
            made.parameters["sequence_id"].string_param = rng.choice(("x", "", "a" * 500))
        made.parameters["sequence_start"].bool_param = rng.random() < 0.6
        made.parameters["sequence_end"].bool_param = rng.random() < 0.8
    return Infer(
        made.SerializeToString(deterministic=True),
        streamed=model in DECOUPLED if rng.random() < 0.95 else model not in DECOUPLED,
    )


def _twisted(rng: Rng, inputs: Inputs) -> Inputs:
    """One tensor left out, doubled, of another type or shape, or with too few bytes."""
    if not inputs:
        return {"X": _tensor(np.zeros(3, dtype=np.float32))}
    name = rng.choice(sorted(inputs))
    shape, data_type, data = inputs[name]
    how = rng.randrange(6)
    if how == 0:
        del inputs[name]
    elif how == 1:
        inputs["OTHER"] = inputs[name]
    elif how == 2:
        inputs[name] = (shape, rng.choice(DATA_TYPES), data)
    elif how == 3:
        inputs[name] = ([*shape, 1] if rng.random() < 0.5 else shape[:-1], data_type, data)
    elif how == 4:
        inputs[name] = ([rng.choice((0, -1, 1, 2**40, 7)) for _ in shape], data_type, data)
    else:
        inputs[name] = (shape, data_type, data[: rng.randrange(len(data) + 1)])
    return inputs


def _set(rng: Rng, to: Any, name: str) -> None:
    how = rng.randrange(6)
    if how == 0:
        to.bool_param = rng.random() < 0.5
    elif how == 1:
        to.int64_param = rng.choice(values.WHOLE)
    elif how == 2:
        to.double_param = rng.choice(values.FLOATS)
    elif how == 3:
        to.string_param = values.text(rng)[:20_000].encode("utf-8", "ignore").decode()
    elif how == 4:
        to.string_param = rng.choice(values.NUMBERS)
    else:
        to.string_param = rng.choice(("on", "off", "flush", "reset", "en", "someone", "true", "false", "2", "0.5"))
    if name == "min_new_tokens" and to.WhichOneof("parameter_choice") == "int64_param":
        # A lawful way to ask for much work; that is a load, not an odd input.
        to.int64_param = rng.choice((-1, 0, 10**9))


def _pcm(rng: Rng) -> NDArray[np.float32]:
    size = rng.choice((0, 1, 160, 511, 4_000, 8_000, 8_000, 16_000)) if rng.random() < 0.998 else 600 * 16_000
    pcm = np.full(size, 0.0, dtype=np.float32)
    if size and rng.random() < 0.6:
        pcm[rng.randrange(size) :] = _float(rng)
    return pcm


def _float(rng: Rng) -> float:
    if rng.random() < 0.5:
        return 0.1
    return rng.choice((0.0, 0.1, -10.0, math.nan, math.inf, -math.inf, 3.4e38, -3.4e38, 1e-40, 1e20))


def _tensor(value: NDArray[Any]) -> tuple[list[int], str, bytes]:
    return list(value.shape), np_to_triton_dtype(value.dtype), value.tobytes()


def _texts(rng: Rng) -> tuple[list[int], str, bytes]:
    texts = np.array([values.utf8(rng)[:50_000] for _ in range(rng.choice((1, 1, 1, 0, 2)))], dtype=np.object_)
    data = serialize_byte_tensor(texts).item() if texts.size else b""
    if rng.random() < 0.1:
        # A length that reaches beyond the bytes.
        data = struct.pack("<I", 2**31) + data[4:]
    return [texts.size], "BYTES", data
