"""The parameters of the decoder.

Two sets of defaults: for a CPU, and where `device` is a GPU for an RTX 4090's 24 GB: weights 1.2 GB (0.6B) or 3.5 GB
(1.7B), and a KV cache of what is free (112 kB a token). Twice the running sequences on 48 GB and more.
"""

from __future__ import annotations

from dataclasses import dataclass

from .declaration import Declared, parameter
from .serving.budget import parse_wish
from .serving.neighbours import gpu_of


@dataclass(frozen=True)
class Parameters(Declared):
    checkpoint: str = parameter(
        "checkpoint", "Weights, tokenizer and config.json; a relative path is inside of this version's folder."
    )
    engine: str = parameter(
        "ours",
        "What decodes: ours, or vllm, where that package is installed (model_repository/README.md says what it lacks).",
        one_of=("ours", "vllm"),
    )
    vllm_python: str = parameter(
        "",
        "The Python that has vllm; a relative path is inside of this version's folder, empty: the one of this model.",
    )
    vllm_arguments: str = parameter(
        "",
        "For vllm, its own engine arguments that are none of these parameters, as json: "
        '{"gpu_memory_utilization": 0.8, "tensor_parallel_size": 2}.',
    )
    draft_checkpoint: str = parameter(
        "",
        "A smaller checkpoint with the same tokenizer that guesses draft_tokens at a time, for this one to verify; "
        "empty: none.",
    )
    draft_tokens: int = parameter(4, "Tokens that the draft checkpoint guesses at a time.", low=1)
    # Here and not by the instance group: sessions live in one process.
    device: str = parameter("cpu", "cpu, cuda, or cuda:1. On a GPU other parameters have other defaults.")
    aligner_device: str = parameter(
        "cpu",
        "Where a forced aligner computes, as its own parameter `device` says: what it takes of this decoder's GPU is "
        "left free for it, whichever is loaded first.",
        on_cuda="cuda",
    )
    aligner_encoder_device: str = parameter("cpu", "The same of the aligner's encoder.", on_cuda="cuda")
    dtype: str = parameter(
        "auto",
        "float32; bfloat16 (GPUs since Ampere); float16; auto: on such GPUs bfloat16, on older ones float16, and on a "
        "CPU float32 as long as its memory holds it.",
        one_of=("auto", "float32", "bfloat16", "float16"),
    )
    quantization: str = parameter(
        "none",
        "Weights of the layers: none, int8 (any device; half the memory of bfloat16, and on a GPU slower than it; on "
        "a CPU the head as well, products in bfloat16), fp8 (compute capability 8.9 and newer).",
        one_of=("none", "int8", "fp8"),
    )
    tf32: bool = parameter(False, "On CUDA: TF32 in float32 products.", on_cuda=True)
    cuda_graphs: bool = parameter(
        False,
        "Steps in fixed shapes, all recorded at load and replayed as CUDA graphs: in float16 and bfloat16 on Ampere "
        "and later.",
        on_cuda=True,
    )
    torch_compile: bool = parameter(
        False,
        "The same steps, compiled at the first use of each shape (which needs a C++ compiler, and minutes for a large "
        "network); on a CPU those in which every sequence adds one token. Where one cannot be compiled, all run as "
        "they are, and the log says so.",
    )
    look_ahead: bool = parameter(
        False,
        "Plan and launch a step while the one before still runs, where every sequence adds one token to that and none "
        "has hotwords: the host's work hides behind the GPU's.",
        on_cuda=True,
    )
    attention_splits: int = parameter(
        0,
        "On CUDA: over how many blocks a decoding sequence's keys are spread; 0: as is fastest, 1: a sequence's sums "
        "do not depend on who runs beside it.",
        low=0,
    )
    decode_batches: tuple[int, ...] = parameter(
        (1, 2, 4, 8, 16, 32, 64),
        "The fixed shapes of steps in which every sequence adds one token: so many sequences.",
        on_cuda=(1, 2, 4, 8, 16, 32, 64, 128),
        low=1,
    )
    warm_up_seconds: tuple[float, ...] = parameter(
        (1.0, 8.0), "Requests of as many seconds are answered at load, before the model is ready.", low=0
    )
    num_threads: int = parameter(
        0, "Threads of one step; 0: one for each ten million weights, up to every core.", low=0
    )
    kv_cache_mb: str = parameter(
        "0",
        "Memory of the KV cache, taken once at start: so many MB; 0: what max_running sequences of 30 s and as many "
        "kept sessions can use, within 40 % of a CPU's free memory, or 80 % of a GPU's less a reserve; 20%: the same "
        "within that share of a CPU's free memory, or of a GPU's whole memory, so that two decoders can share one.",
    )
    max_running: int = parameter(64, "Sequences that run at a time; more wait.", on_cuda=128, low=1)
    # The engine orders and bounds what waits itself: with Triton's priority queues a request that comes while execute()
    # runs may lie for half a second.
    max_waiting: tuple[int, ...] = parameter(
        (256, 1024, 4096),
        "By priority (1 live, 2 interactive, 3 bulk): how many may wait beside those that run; more are refused.",
        low=0,
    )
    max_wait_s: tuple[float, ...] = parameter(
        (10.0, 120.0, 3600.0), "By priority: for how many seconds they may wait; longer is refused.", low=0
    )
    max_step_tokens: int = parameter(
        512,
        "Tokens of one step: a long prompt is taken in by chunks, so that it delays running sequences by one chunk at "
        "most.",
        on_cuda=4096,
        low=1,
    )
    live_step_tokens: int = parameter(
        8,
        "Of these, what prompts of files may add to a step in which a live sequence takes part. More on a fast GPU.",
        on_cuda=256,
        low=1,
    )
    max_step_ms: float = parameter(2000.0, "Prompts of files may make a step last so long.", on_cuda=200.0, low=0)
    live_step_ms: float = parameter(10.0, "The same while a stream goes on.", on_cuda=40.0, low=0)
    live_alone_ms: float = parameter(
        100.0,
        "Files take no part in steps of live sequences until they have waited so long for one, of which their prompts "
        "may have a tenth of that time; 0: they take part in each.",
        on_cuda=0.0,
        low=0,
    )
    stream_interval_ms: float = parameter(
        10.0,
        "The first text goes out at once; what follows within this time goes out together. A response has its price "
        "in the process that runs the steps.",
        on_cuda=100.0,
        low=0,
    )
    aging_s: float = parameter(
        10.0,
        "Of the sequences that have waited this long, one at a time goes first: nothing starves, and live speech does "
        "not wait.",
        low=0,
    )
    session_idle_s: float = parameter(
        60.0, "What an unused session keeps in the KV cache is forgotten after this.", low=0
    )
    max_new_tokens: int = parameter(
        0,
        "Tokens of one answer; 0: as many as the audio has embeddings, and 64. A request may ask for 6,720, what the "
        "longest clip has, or for this, where it is more.",
        low=0,
    )
    hotword_nats: float = parameter(
        1.5,
        "By how many nats, for each of its tokens and with a weight of 1, a hotword may be less likely than what would "
        "be written without it.",
        low=0,
    )
    max_context_tokens: int = parameter(1024, "A request whose CONTEXT has more tokens is refused.", low=0)

    def __post_init__(self) -> None:
        super().__post_init__()
        parse_wish(self.kv_cache_mb)
        for device in (self.aligner_device, self.aligner_encoder_device):
            gpu_of(device)
