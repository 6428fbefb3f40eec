"""GPUs as their makers publish them. Standard library only.

memory_mb: MiB that nvidia-smi reports of the card. bandwidth_gb_s: of its memory. tflops: dense tensor-core operations
in float16 or bfloat16 with sums in float32 (half of what is published with sparsity; on GeForce half of the rate with
float16 sums). has_flash: whether FlashAttention takes it, Ampere and later. Sources: NVIDIA's data sheets of each
card, for GeForce the white papers of its architecture.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Gpu:
    name: str
    memory_mb: int
    bandwidth_gb_s: float
    tflops: float
    source: str
    has_flash: bool = True


GPUS = {
    "t4": Gpu("T4", 15_360, 320, 65, "Tesla T4 data sheet", has_flash=False),
    "rtx4080": Gpu("RTX 4080", 16_376, 717, 97.5, "Ada white paper, v2.1"),
    "a10": Gpu("A10", 23_028, 600, 125, "A10 data sheet"),
    "l4": Gpu("L4", 23_034, 300, 121, "L4 data sheet"),
    "rtx4090": Gpu("RTX 4090", 24_564, 1_008, 165.2, "Ada white paper, v2.1"),
    "rtx5090": Gpu("RTX 5090", 32_607, 1_792, 209.5, "RTX Blackwell white paper, v1.1"),
    "l40s": Gpu("L40S", 46_068, 864, 362, "L40S data sheet"),
    "h100": Gpu("H100 SXM", 81_559, 3_350, 989.4, "H100 data sheet"),
    "a100": Gpu("A100 80GB", 81_920, 2_039, 312, "A100 80GB data sheet, SXM"),
    "h200": Gpu("H200", 143_771, 4_800, 989.4, "H200 data sheet"),
}
