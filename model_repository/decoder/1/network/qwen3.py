"""Qwen3 over ragged batches: every token of a step in one flat row of tensors, attention in one call a layer.

A step mixes prompts, parts of prompts and single new tokens of many sequences. All matrix products run over the flat
rows; attention reads each sequence's keys and values where they lie in the KV cache (attention.py). No operation's
shape depends on anything but the number of rows and sequences, none waits for the device: so a step can be recorded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn import functional

from .attention import by_sequence, ragged_attention
from .layout import Layout
from .products import Int8Matrix, Product, packable, product


@dataclass(frozen=True)
class Qwen3Config:
    """Dimensions of the network, by the names of the checkpoint's text_config."""

    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    rms_norm_eps: float = 1e-6
    rope_theta: float = 1_000_000.0

    @classmethod
    def from_text_config(cls, config: Mapping[str, Any]) -> Qwen3Config:
        """Read config.json's text part; ValueError where it is not a plain Qwen3."""
        missing = [name for name in ("vocab_size", "hidden_size", "num_hidden_layers") if name not in config]
        if missing:
            raise ValueError(f"text_config has no {', '.join(missing)}")
        rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
        # Sections of mrope carry equal positions in speech: it is the plain rotation.
        if rope.get("rope_type", rope.get("type", "default")) not in ("default", "mrope"):
            raise ValueError(f"rotary positions of kind {rope} are not supported")
        if config.get("attention_bias") or config.get("use_sliding_window"):
            raise ValueError("attention with biases or a sliding window is not supported")
        heads = config["num_attention_heads"]
        return cls(
            vocab_size=config["vocab_size"],
            hidden_size=config["hidden_size"],
            intermediate_size=config["intermediate_size"],
            num_hidden_layers=config["num_hidden_layers"],
            num_attention_heads=heads,
            num_key_value_heads=config["num_key_value_heads"],
            head_dim=config.get("head_dim") or config["hidden_size"] // heads,
            rms_norm_eps=config.get("rms_norm_eps", 1e-6),
            rope_theta=rope.get("rope_theta") or config.get("rope_theta") or 1_000_000.0,
        )


class Attended(Protocol):
    """Where the keys and values lie that a step reads and writes: a KVCache, or what stands for one."""

    def write(self, layer: int, slots: Tensor, keys: Tensor, values: Tensor) -> None: ...

    def layer(self, layer: int) -> tuple[Tensor, Tensor]: ...


@dataclass(frozen=True)
class Layer:
    """Weights of one layer; q, k and v, and gate and up, are one matrix each.

    qk_norm: weights of the norms of all query and key heads [heads + key-value heads, head_dim].
    """

    input_norm: Tensor
    qkv: Product
    qk_norm: Tensor
    o: Product
    post_norm: Tensor
    gate_up: Product
    down: Product


class Qwen3:
    """The network and nothing else: `forward` for hidden states, `logits` for the rows that are asked for."""

    def __init__(
        self,
        config: Qwen3Config,
        weights: Mapping[str, Tensor],
        device: torch.device,
        dtype: torch.dtype,
        quantize: Callable[[Tensor], Tensor | Int8Matrix] | None = None,
        *,
        packed: bool = True,
    ) -> None:
        """weights: by names such as `layers.0.self_attn.q_proj.weight`; KeyError where one is missing.

        quantize: what to make of the layers' matrices, and on a CPU of the head, a quarter of the smallest checkpoint's
        bytes; what it returns is taken by `product`. packed: see there; compilers do not take it.
        """

        def take(*names: str) -> Tensor:
            return torch.cat([weights[name].to(device=device, dtype=dtype) for name in names]).contiguous()

        def matrix(*names: str) -> Product:
            return product(take(*names) if quantize is None else quantize(take(*names)), packed=packed)

        self.config = config
        self.device = device
        self.dtype = dtype
        self.embedding = take("embed_tokens.weight")
        head = take("lm_head.weight") if "lm_head.weight" in weights else self.embedding
        small_head = quantize is not None and device.type == "cpu"
        self.head = product(quantize(head) if quantize is not None and small_head else head, packed=packed)
        if small_head or (packed and packable(head)):
            # The head is a copy of its own: embeddings, which are read by row only, stay as the checkpoint has them.
            self.embedding = weights["embed_tokens.weight"].to(device).contiguous()
        self.norm = take("norm.weight")
        self.layers = [
            Layer(
                input_norm=take(f"layers.{i}.input_layernorm.weight"),
                qkv=matrix(*(f"layers.{i}.self_attn.{part}_proj.weight" for part in "qkv")),
                qk_norm=torch.cat(
                    [
                        take(f"layers.{i}.self_attn.q_norm.weight").expand(config.num_attention_heads, -1),
                        take(f"layers.{i}.self_attn.k_norm.weight").expand(config.num_key_value_heads, -1),
                    ]
                ),
                o=matrix(f"layers.{i}.self_attn.o_proj.weight"),
                post_norm=take(f"layers.{i}.post_attention_layernorm.weight"),
                gate_up=matrix(f"layers.{i}.mlp.gate_proj.weight", f"layers.{i}.mlp.up_proj.weight"),
                down=matrix(f"layers.{i}.mlp.down_proj.weight"),
            )
            for i in range(config.num_hidden_layers)
        ]
        # The operator is for graphs, compilers and counting; where nobody looks for it, its way costs 6 us a layer.
        # A test may have the reference of all kernels instead.
        self.attention: Callable[..., Tensor] = by_sequence if packed and device.type == "cpu" else ragged_attention
        half = torch.arange(0, config.head_dim, 2, dtype=torch.float32, device=device) / config.head_dim
        self._frequencies = 1.0 / config.rope_theta**half

    def embed(self, ids: Tensor, audio: Tensor | None = None) -> Tensor:
        """ids int32 or int64 [T] -> [T, hidden_size]: of a token its embedding, of -1 - i row i of `audio`, which is
        [N, hidden_size] in the network's own number format."""
        if audio is None:
            return functional.embedding(ids, self.embedding).to(self.dtype)
        tokens = functional.embedding(ids.clamp(min=0), self.embedding).to(self.dtype)
        heard = functional.embedding((-1 - ids).clamp_(min=0), audio)
        return torch.where((ids < 0)[:, None], heard, tokens)

    def logits(self, hidden: Tensor) -> Tensor:
        """hidden [R, hidden_size] -> float32 [R, vocab_size]."""
        return self.head(hidden).float()

    def forward(self, embeddings: Tensor, layout: Layout, cache: Attended) -> Tensor:
        """Run one step and write its keys and values into the cache.

        embeddings: [T, hidden_size]. Returns normalized hidden states [T, hidden_size].
        """
        rotation = self._rotation(layout.positions)
        hidden = embeddings
        for index, layer in enumerate(self.layers):
            # Two functions, so that what is alive within one is freed before the other begins.
            hidden = hidden + self._attend(index, layer, hidden, rotation, layout, cache)
            hidden = hidden + self._transform(layer, hidden)
        return self._rms_norm(hidden, self.norm)

    def _attend(
        self, index: int, layer: Layer, hidden: Tensor, rotation: tuple[Tensor, Tensor], layout: Layout, cache: Attended
    ) -> Tensor:
        """What attention adds to hidden [T, hidden_size]; its keys and values are written into the cache."""
        config = self.config
        num_queries = config.num_attention_heads
        num_rotated = num_queries + config.num_key_value_heads
        x = self._rms_norm(hidden, layer.input_norm)
        qkv = layer.qkv(x).view(x.shape[0], -1, config.head_dim)
        # Queries and keys are normalized and rotated alike: together, for half of the calls. Values only stand
        # beside them there: a part of the rows would have to be copied for the kernel.
        normed = functional.rms_norm(qkv, qkv.shape[-1:], eps=config.rms_norm_eps)
        heads, value = normed[:, :num_rotated] * layer.qk_norm, qkv[:, num_rotated:]
        rotated = _rotate(heads, *rotation)
        query, key = rotated[:, :num_queries], rotated[:, num_queries:]
        cache.write(index, layout.slots, key, value)
        attended = self.attention(
            query,
            *cache.layer(index),
            layout.row_starts,
            layout.kv_starts,
            layout.kv_lengths,
            layout.masks,
            layout.most_rows,
            layout.longest,
            layout.splits,
        )
        return layer.o(attended.flatten(1))

    def _transform(self, layer: Layer, hidden: Tensor) -> Tensor:
        """What the gated products add to hidden [T, hidden_size]."""
        gate, up = layer.gate_up(self._rms_norm(hidden, layer.post_norm)).chunk(2, dim=-1)
        return layer.down(functional.silu(gate) * up)

    def _rms_norm(self, x: Tensor, weight: Tensor) -> Tensor:
        return functional.rms_norm(x, weight.shape, weight, self.config.rms_norm_eps)

    def _rotation(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """cosine and sine [T, 1, head_dim]; the sine of the first half is negative, for `_rotate`."""
        angles = positions[:, None].float() * self._frequencies[None, :]
        cosine, sine = angles.cos(), angles.sin()
        cosine, sine = torch.cat([cosine, cosine], dim=-1), torch.cat([-sine, sine], dim=-1)
        return cosine[:, None, :].to(self.dtype), sine[:, None, :].to(self.dtype)


def _rotate(x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """Rotary positions over halves of each head; x [T, heads, head_dim]."""
    return x * cosine + x.roll(x.shape[-1] // 2, dims=-1) * sine
