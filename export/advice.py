"""Which precision to serve in: every one of them on the same speech, judged by what is heard."""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch

from export.checkpoint import Checkpoint
from export.encoder.engines import open_engine
from export.encoder.onnx_export import export_encoder
from export.encoder.quantize import quantize_encoder
from export.local import LocalAsr
from export.speech import Spoken
from export.verify import Parity, compare, hear, parity_table

# What may be lost: tokens that differ from the fp32 reference, and words that become wrong.
MIN_AGREEMENT = 0.99
MAX_WER_LOSS = 0.002


def advise(checkpoint: Checkpoint, speech: list[Spoken]) -> str:
    """A table of encoders (fp32 first) and decoders, and a line of advice. Calibration is on every second clip, the
    comparison on the others."""
    calibration, held_out = speech[::2], speech[1::2] or speech
    cuda = torch.cuda.is_available()
    with tempfile.TemporaryDirectory() as folder:
        engines = ["torch", "torch:fp16", "torch:bf16"]
        for precision in ("fp32", "fp16") if cuda else ("fp32",):
            source = Path(folder) / f"{precision}.onnx"
            export_encoder(checkpoint, source, precision)
            kinds = ("int8", "fp8")
            for kind in kinds:
                quantize_encoder(source, Path(folder) / f"{precision}-{kind}.onnx", kind, calibration)
            engines += [str(source), *(str(Path(folder) / f"{precision}-{kind}.onnx") for kind in kinds)]
        with LocalAsr(checkpoint.folder) as asr:
            heard = {name: hear(open_engine(name, checkpoint), asr, held_out) for name in engines}
    reference = heard["torch"]
    rows = {Path(name).name.removesuffix(".onnx"): compare(reference, one, held_out) for name, one in heard.items()}
    for kind in ("int8", "fp8") if cuda and torch.cuda.get_device_capability() >= (8, 9) else ("int8",):
        with LocalAsr(checkpoint.folder, quantization=kind, device_name="cuda" if cuda else "cpu") as asr:
            rows[f"decoder {kind}"] = compare(
                reference, hear(open_engine("torch", checkpoint), asr, held_out), held_out
            )
    good = [name for name, one in rows.items() if is_good(one, rows["torch"])]
    return f"{parity_table(list(rows), list(rows.values()))}\nas good as fp32 on this speech: {', '.join(good)}"


def is_good(one: Parity, reference: Parity) -> bool:
    if one.wer is not None and reference.wer is not None:
        return one.wer <= reference.wer + MAX_WER_LOSS
    return one.token_agreement >= MIN_AGREEMENT
