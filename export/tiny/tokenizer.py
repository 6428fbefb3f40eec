"""The tiny checkpoints' tokenizer and processor files: Qwen2's byte-level BPE with Qwen3-ASR's special tokens."""

from __future__ import annotations

import random
from pathlib import Path

from tokenizers import Regex, Tokenizer, models, pre_tokenizers, trainers
from transformers import AddedToken, Qwen2Tokenizer, Qwen3ASRFeatureExtractor, Qwen3ASRProcessor
from transformers.models.qwen2.tokenization_qwen2 import PRETOKENIZE_REGEX

from export.tiny.voices import WORDS, random_digits

# English words become one token each; Chinese digits keep two or three, so that a streamed delta can end inside one.
NUM_MERGED = 54
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|audio_start|>", "<|audio_end|>", "<|audio_pad|>"]
# The real tokenizer keeps this one when special tokens are skipped: the parsers look for it.
PLAIN_ADDED = ["<asr_text>"]

CHAT_TEMPLATE = (
    "{%- set ns = namespace(system='') -%}"
    "{%- for message in messages if message.role == 'system' -%}"
    "{%- if message.content is string -%}{%- set ns.system = message.content -%}"
    "{%- else -%}{%- for part in message.content if part.type == 'text' -%}"
    "{%- set ns.system = ns.system + part.text -%}{%- endfor -%}{%- endif -%}"
    "{%- endfor -%}"
    "{{- '<|im_start|>system\\n' + ns.system + '<|im_end|>\\n' -}}"
    "{%- for message in messages if message.role != 'system' -%}"
    "{{- '<|im_start|>' + message.role + '\\n' -}}"
    "{%- if message.content is string -%}{{- message.content -}}"
    "{%- else -%}{%- for part in message.content -%}"
    "{%- if part.type == 'audio' -%}{{- '<|audio_start|><|audio_pad|><|audio_end|>' -}}"
    "{%- elif part.type == 'text' -%}{{- part.text -}}{%- endif -%}"
    "{%- endfor -%}{%- endif -%}"
    "{{- '<|im_end|>\\n' -}}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}"
)


def _corpus() -> list[str]:
    """What the merges are learned from: transcripts as they are written, mostly English."""
    rng = random.Random(0)
    lines = ["language English", "language Chinese", "language None", "system\n", "user\n", "assistant\n"] * 300
    for _ in range(3000):
        lines.append(" ".join(WORDS["English"][d] for d in random_digits(rng)))
    for _ in range(600):
        lines.append("".join(WORDS["Chinese"][d] for d in random_digits(rng)))
    return lines


def build_tokenizer() -> Qwen2Tokenizer:
    trained = Tokenizer(models.BPE())
    trained.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PRETOKENIZE_REGEX), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=len(alphabet) + NUM_MERGED, initial_alphabet=alphabet, show_progress=False, special_tokens=[]
    )
    trained.train_from_iterator(_corpus(), trainer)
    import json

    model = json.loads(trained.to_str())["model"]
    tokenizer = Qwen2Tokenizer(
        vocab=model["vocab"],
        merges=[tuple(pair) for pair in model["merges"]],
        extra_special_tokens={
            "audio_bos_token": "<|audio_start|>",
            "audio_eos_token": "<|audio_end|>",
            "audio_token": "<|audio_pad|>",
        },
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
    )
    tokenizer.add_tokens([AddedToken(token, special=True) for token in SPECIAL])
    tokenizer.add_tokens([AddedToken(token, special=False, normalized=False) for token in PLAIN_ADDED])
    return tokenizer


def save_processor(folder: Path) -> Qwen2Tokenizer:
    """Write tokenizer, chat template and feature extractor settings into a checkpoint folder."""
    tokenizer = build_tokenizer()
    extractor = Qwen3ASRFeatureExtractor(return_attention_mask=True)
    Qwen3ASRProcessor(extractor, tokenizer, chat_template=CHAT_TEMPLATE).save_pretrained(folder)
    return tokenizer
