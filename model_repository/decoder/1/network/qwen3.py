"""Qwen3 over ragged batches: every token of a step in one flat row of tensors, attention per sequence.

A step mixes prompts, parts of prompts and single new tokens of many sequences. All matrix products run over the flat
rows; attention reads each sequence's keys and values as one slice of the KV cache, so nothing is padded or gathered.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from .kv_cache import KVCache
from .products import Product, product


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


@dataclass(frozen=True)
class Span:
    """One sequence's part of a step: rows `row` to `row + length`, whose first token is at `position` of the sequence.

    kv_start: where the sequence begins in the KV cache.
    """

    row: int
    length: int
    position: int
    kv_start: int


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
        quantize: Callable[[Tensor], Tensor] | None = None,
        *,
        packed: bool = True,
    ) -> None:
        """weights: by names such as `layers.0.self_attn.q_proj.weight`; KeyError where one is missing.

        quantize: what to make of the layers' matrices; what it returns has to work as a weight of `linear`. packed: see
        `product`; compilers do not take it.
        """

        def take(*names: str) -> Tensor:
            return torch.cat([weights[name].to(device=device, dtype=dtype) for name in names]).contiguous()

        def matrix(*names: str) -> Product:
            return product(take(*names) if quantize is None else quantize(take(*names)), packed=packed)

        self.config = config
        self.device = device
        self.dtype = dtype
        self.embedding = take("embed_tokens.weight")
        # A head that is tied to the embeddings is there twice where it is packed: they are read by row as well.
        head = take("lm_head.weight") if "lm_head.weight" in weights else self.embedding
        self.head = product(head, packed=packed)
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
        half = torch.arange(0, config.head_dim, 2, dtype=torch.float32, device=device) / config.head_dim
        self._frequencies = 1.0 / config.rope_theta**half

    def embed(self, ids: Tensor) -> Tensor:
        """ids int64 [T] -> [T, hidden_size]."""
        return functional.embedding(ids, self.embedding)

    def logits(self, hidden: Tensor) -> Tensor:
        """hidden [R, hidden_size] -> float32 [R, vocab_size]."""
        return self.head(hidden).float()

    def forward(self, embeddings: Tensor, spans: list[Span], cache: KVCache) -> Tensor:
        """Run one step and write its keys and values into the cache.

        embeddings: [T, hidden_size], the rows of all spans. Returns normalized hidden states [T, hidden_size].
        """
        positions = torch.tensor([p for s in spans for p in range(s.position, s.position + s.length)])
        slots = torch.tensor([s.kv_start + s.position + i for s in spans for i in range(s.length)])
        masks = [self._mask(span) for span in spans]

        def attend(layer: int, query: Tensor) -> Tensor:
            return self._attention(layer, query, spans, masks, cache)

        return self._layers(embeddings, positions.to(self.device), slots.to(self.device), cache, attend)

    def decode(self, embeddings: Tensor, positions: Tensor, starts: Tensor, length: int, cache: KVCache) -> Tensor:
        """One new token of each of B sequences, with shapes that depend on B and `length` alone: the same result as
        `forward`, for graphs and compilers, which want the same shapes again and again.

        embeddings [B, hidden_size]; positions int64 [B] of the tokens in their sequences, all below `length`; starts
        int64 [B] of the sequences in the KV cache. Returns normalized hidden states [B, hidden_size].
        """
        config = self.config
        # Beyond a sequence's end stands what belongs to others, or to nobody: masked, whatever it is.
        steps = torch.arange(length, device=self.device)
        index = (starts[:, None] + steps[None, :]).clamp_(max=cache.num_slots - 1)
        seen = (steps[None, :] <= positions[:, None])[:, None, None, :]
        groups = config.num_attention_heads // config.num_key_value_heads

        def attend(layer: int, query: Tensor) -> Tensor:
            keys, values = cache.gather(layer, index)
            q = query.view(-1, config.num_key_value_heads, groups, config.head_dim)
            return functional.scaled_dot_product_attention(q, keys, values, attn_mask=seen).reshape(query.shape[0], -1)

        return self._layers(embeddings, positions, starts + positions, cache, attend)

    def _layers(
        self,
        embeddings: Tensor,
        positions: Tensor,
        slots: Tensor,
        cache: KVCache,
        attend: Callable[[int, Tensor], Tensor],
    ) -> Tensor:
        """All layers over flat rows [T, hidden_size].

        attend: a layer's number and its query [T, heads, head_dim] -> [T, heads * head_dim], called once the layer's
        keys and values are in the cache.
        """
        config = self.config
        cosine, sine = self._rotation(positions)
        widths = [config.num_attention_heads + config.num_key_value_heads, config.num_key_value_heads]
        hidden = embeddings
        for index, layer in enumerate(self.layers):
            x = self._rms_norm(hidden, layer.input_norm)
            qkv = layer.qkv(x).view(x.shape[0], -1, config.head_dim)
            # Queries and keys are normalized and rotated alike: together, for half of the calls.
            heads, value = qkv.split(widths, dim=1)
            heads = functional.rms_norm(heads, heads.shape[-1:], eps=config.rms_norm_eps) * layer.qk_norm
            query, key = _rotate(heads, cosine, sine).split([widths[0] - widths[1], widths[1]], dim=1)
            cache.write(index, slots, key, value)
            hidden = hidden + layer.o(attend(index, query))
            gate, up = layer.gate_up(self._rms_norm(hidden, layer.post_norm)).chunk(2, dim=-1)
            hidden = hidden + layer.down(functional.silu(gate) * up)
        return self._rms_norm(hidden, self.norm)

    def _rms_norm(self, x: Tensor, weight: Tensor) -> Tensor:
        return functional.rms_norm(x, weight.shape, weight, self.config.rms_norm_eps)

    def _rotation(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """cosine and sine [T, 1, head_dim]; the sine of the first half is negative, for `_rotate`."""
        angles = positions[:, None].float() * self._frequencies[None, :]
        cosine, sine = angles.cos(), angles.sin()
        cosine, sine = torch.cat([cosine, cosine], dim=-1), torch.cat([-sine, sine], dim=-1)
        return cosine[:, None, :].to(self.dtype), sine[:, None, :].to(self.dtype)

    def _mask(self, span: Span) -> Tensor | None:
        """Causal mask of a span with more than one row, repeated for the query heads of one key head."""
        if span.length == 1:
            return None
        rows = torch.arange(span.position, span.position + span.length, device=self.device)
        seen = torch.arange(span.position + span.length, device=self.device)[None, :] <= rows[:, None]
        return seen.repeat(self.config.num_attention_heads // self.config.num_key_value_heads, 1)

    def _attention(
        self, layer: int, query: Tensor, spans: list[Span], masks: list[Tensor | None], cache: KVCache
    ) -> Tensor:
        """query [T, heads, head_dim] -> [T, heads * head_dim]."""
        config = self.config
        groups = config.num_attention_heads // config.num_key_value_heads
        out = torch.empty_like(query)
        for span, mask in zip(spans, masks, strict=True):
            keys, values = cache.read(layer, span.kv_start, span.position + span.length)
            if span.length == 1:
                q = query[span.row].view(1, config.num_key_value_heads, groups, config.head_dim)
                attended = functional.scaled_dot_product_attention(q, keys, values)
                out[span.row] = attended.view(-1, config.head_dim)
                continue
            rows = slice(span.row, span.row + span.length)
            # The query heads that share a key head become rows of one product: keys are never repeated.
            q = query[rows].view(span.length, config.num_key_value_heads, groups, config.head_dim)
            q = q.permute(1, 2, 0, 3).reshape(1, config.num_key_value_heads, groups * span.length, config.head_dim)
            attended = functional.scaled_dot_product_attention(q, keys, values, attn_mask=mask)
            attended = attended.view(config.num_key_value_heads, groups, span.length, config.head_dim)
            out[rows] = attended.permute(2, 0, 1, 3).reshape(span.length, -1, config.head_dim)
        return out.flatten(1)


def _rotate(x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """Rotary positions over halves of each head; x [T, heads, head_dim]."""
    return x * cosine + x.roll(x.shape[-1] // 2, dims=-1) * sine
