"""How much memory the KV cache may take, and which number format the weights get, where config.pbtxt leaves it open.

Pure functions of figures that `memory` reads; all sizes in bytes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

# A spoken answer of 30 s at its longest: its embeddings, and the prompt and answer around it.
TOKENS_OF_30_S = 30 * 13 + 26 + 30 * 13 + 64
# The longest clip: 64 blocks of 104 embeddings, an answer as long, and the context.
LONGEST_ANSWER = 64 * 104 + 64
TOKENS_OF_LONGEST = 64 * 104 + LONGEST_ANSWER + 1024
# Beside the sequences that run, as many live sessions keep theirs for their next step.
KEPT_FOR_ONE_RUNNING = 1
# A cache that holds fewer sequences of 30 s than this answers nearly everybody one after the other.
MIN_SEQUENCES = 4
# Of what is free: the other models load at the same time and want the rest.
CPU_SHARE, GPU_SHARE = 0.4, 0.8
# Left free of a GPU before that share: graphs, activations, the encoder; more on large ones, whose batches are larger.
GPU_RESERVE, GPU_RESERVE_OF_TOTAL = 1536 * 2**20, 0.1


class NotEnoughMemory(ValueError):
    """The KV cache that is needed, or asked for, does not fit."""


@dataclass(frozen=True)
class Memory:
    """What a device has, in bytes. total: all of it; free: what this process could still take."""

    kind: str
    total: int
    free: int

    @property
    def usable(self) -> int:
        """What may be taken of it at all: on a GPU, which gives nothing back, less than what is free."""
        if self.kind == "cpu":
            return self.free
        return max(0, self.free - GPU_RESERVE - int(GPU_RESERVE_OF_TOTAL * self.total))

    def beside(self, own: int, others: int) -> Memory:
        """With no more free than there will be once another model has its `others` bytes, whether or not it has them
        already. own: what this process has taken itself."""
        return replace(self, free=min(self.free, max(0, self.total - own - others)))

    def less(self, size: int) -> Memory:
        """With so much less of it free."""
        return replace(self, free=max(0, self.free - size))

    @property
    def default_share(self) -> float:
        return CPU_SHARE if self.kind == "cpu" else GPU_SHARE


@dataclass(frozen=True)
class Wish:
    """The parameter kv_cache_mb: `bytes` where it names a size; else a share, of a CPU's free memory or a GPU's whole;
    None: the default share of what is usable."""

    bytes: int = 0
    share: float | None = None


def parse_wish(value: str) -> Wish:
    """`512`: so many MB; `0`: what is useful and fits; `40%`: what is useful within that share of the memory.

    Raises ValueError where it is none of these.
    """
    number, percent = value.removesuffix("%"), value.endswith("%")
    if not number.isdigit() or (percent and not 0 < int(number) <= 100):
        raise ValueError(f"kv_cache_mb is a number of MB, 0 for what fits, or a share such as 40%, not {value!r}")
    return Wish(share=int(number) / 100) if percent else Wish(bytes=int(number) * 2**20)


def cache_tokens(wish: Wish, memory: Memory, token_bytes: int, max_running: int) -> int:
    """Tokens of the KV cache.

    token_bytes: of all networks that keep keys and values at the same places. max_running: sequences at a time; what
    they and as many kept sessions need at 30 s each, and one longest clip, is all that an automatic cache takes.
    Raises NotEnoughMemory where a size that was named holds not even one sequence of 30 s, or what may be taken not
    MIN_SEQUENCES of them.
    """
    if wish.bytes:
        tokens = wish.bytes // token_bytes
        if tokens < TOKENS_OF_30_S:
            raise NotEnoughMemory(
                f"kv_cache_mb {_mb(wish.bytes)} holds {tokens} tokens; one sequence of 30 s needs "
                f"{_mb(TOKENS_OF_30_S * token_bytes)} MB"
            )
        if wish.bytes > memory.usable:
            raise NotEnoughMemory(
                f"kv_cache_mb {_mb(wish.bytes)} is more than the {_mb(memory.usable)} MB that are free for this "
                f"{memory.kind.upper()} beside weights and steps: 0 takes what fits"
            )
        return tokens
    limit = _limit(wish, memory)
    useful = (1 + KEPT_FOR_ONE_RUNNING) * max_running * TOKENS_OF_30_S + TOKENS_OF_LONGEST
    tokens = min(limit.bytes // token_bytes, useful)
    least = min(MIN_SEQUENCES, max_running)
    if tokens < least * TOKENS_OF_30_S:
        raise NotEnoughMemory(
            f"{limit.words} hold no KV cache of {least} sequences of 30 s, which need "
            f"{_mb(least * TOKENS_OF_30_S * token_bytes)} MB: free memory, choose bfloat16 or a smaller checkpoint, or "
            "name kv_cache_mb"
        )
    if tokens * token_bytes > memory.free:
        raise NotEnoughMemory(
            f"{limit.words} are not there: {_mb(memory.free)} MB are free; free memory, or name a smaller kv_cache_mb"
        )
    return tokens


@dataclass(frozen=True)
class _Limit:
    bytes: int
    words: str


def _limit(wish: Wish, memory: Memory) -> _Limit:
    """What an automatic cache may take. A share that is named is one of a GPU's whole memory: models load at the same
    time, in no order, and of what is free the first would take most."""
    share = memory.default_share if wish.share is None else wish.share
    if wish.share is not None and memory.kind != "cpu":
        return _Limit(int(share * memory.total), f"{share:.0%} of this {memory.kind.upper()}'s {_mb(memory.total)} MB")
    return _Limit(
        int(share * memory.usable),
        f"{share:.0%} of the {_mb(memory.usable)} MB that are free for this {memory.kind.upper()}",
    )


def chosen_dtype(
    wish: str, memory: Memory, num_weights: int, values_per_token: int, capability: tuple[int, int] | None = None
) -> str:
    """The name of a number format.

    wish: a name, which is taken as it is, or `auto`: on a GPU bfloat16, float16 before Ampere; on a CPU float32, or
    bfloat16 where the memory would not hold weights and MIN_SEQUENCES otherwise. values_per_token: numbers of one token
    in the KV cache. capability: the GPU's, None on a CPU.
    """
    if wish != "auto":
        return wish
    if capability is not None:
        return "bfloat16" if capability >= (8, 0) else "float16"
    left = memory.free - 4 * num_weights
    return "float32" if left * CPU_SHARE >= MIN_SEQUENCES * TOKENS_OF_30_S * 4 * values_per_token else "bfloat16"


def _mb(size: int) -> int:
    return -(-size // 2**20)
