"""The forced aligner that is trained: the block encoder, transformers' own Qwen3, and a head over classes of time."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import AddedToken, Qwen2Tokenizer, Qwen3ASRConfig, Qwen3ASRFeatureExtractor, Qwen3ASRProcessor

from export.tiny.network import Size as NetworkSize
from export.tiny.network import TinyAsr, native_config, native_state
from export.tiny.tokenizer import build_tokenizer

# Milliseconds of a class, and how many there are: 30.72 s.
CLASS_MS = 80
NUM_CLASSES = 384
TIMESTAMP = "<timestamp>"
# As tiny, and three layers more: the first ones learn where in the clip they are.
SIZE = NetworkSize(4, 128, 384, 24, 6, 128, 384, heads=4, kv_heads=2)
# The layers behind which rows of audio know their place and how many words have begun, as far as training asks for it.
PLACED_LAYER, COUNTED_LAYER = 2, 4
MOST_COUNTED = 32
# The audio, then every word with two tokens whose rows tell its start and its end; an aligner knows no roles.
CHAT_TEMPLATE = (
    "{%- for message in messages -%}{%- for part in message.content -%}"
    "{%- if part.type == 'audio' -%}{{- '<|audio_start|><|audio_pad|><|audio_end|>' -}}"
    "{%- elif part.type == 'text' -%}{{- part.text + '<timestamp><timestamp>' -}}{%- endif -%}"
    "{%- endfor -%}{%- endfor -%}"
)


def aligner_tokenizer() -> Qwen2Tokenizer:
    """Tiny's, and the token whose rows tell times."""
    tokenizer = build_tokenizer()
    tokenizer.add_tokens([AddedToken(TIMESTAMP, special=True)])
    return tokenizer


def aligner_config(tokenizer: Qwen2Tokenizer) -> Qwen3ASRConfig:
    """The checkpoint's config.json, by transformers' native class."""
    config = native_config(SIZE, tokenizer)
    config.timestamp_token_id = tokenizer.convert_tokens_to_ids(TIMESTAMP)
    config.num_labels = NUM_CLASSES
    config.architectures = ["Qwen3ASRForTokenClassification"]
    return config


@dataclass(frozen=True)
class Placed:
    """classes: float32 [times, NUM_CLASSES], of every word's start and end in order. What only training asks for, of
    every row of audio in order: places float32 [rows, NUM_CLASSES], and counts [rows, MOST_COUNTED] of words so far."""

    classes: Tensor
    places: Tensor
    counts: Tensor


class TinyAligner(nn.Module):
    """Encoder, language model, the head over times, and throw-away ones over audio rows."""

    def __init__(self, config: Qwen3ASRConfig, tokenizer: Qwen2Tokenizer) -> None:
        super().__init__()
        self.config = config
        # What it has of a recognizer; its CTC head is not used.
        self.asr = TinyAsr(config, 1)
        self.score = nn.Linear(config.text_config.hidden_size, NUM_CLASSES, bias=False)
        self.place = nn.Linear(config.text_config.hidden_size, NUM_CLASSES)
        self.count = nn.Linear(config.text_config.hidden_size, MOST_COUNTED)
        token = tokenizer.convert_tokens_to_ids
        self._audio_pad, self._timestamp = token("<|audio_pad|>"), token(TIMESTAMP)
        self._before, self._after = [token("<|audio_start|>")], [token("<|audio_end|>")]

    def embed(self, mel: Tensor, frames: Tensor, clip_max: Tensor) -> list[Tensor]:
        """Each clip's rows of audio, float [rows, hidden]. mel, frames, clip_max as `TinyAsr.encode` takes them."""
        embeddings, _, rows = self.asr.encode(mel, frames, clip_max)
        return [clip[:count] for clip, count in zip(embeddings, rows.tolist(), strict=True)]

    def tell(self, heard: list[Tensor], words: list[list[list[int]]]) -> Placed:
        """Clips in one pass. heard: their rows of audio, as `embed` gives them; words: token ids of each clip's."""
        ids = []
        for rows, spoken in zip(heard, words, strict=True):
            told = [token for word in spoken for token in [*word, self._timestamp, self._timestamp]]
            ids.append([*self._before, *[self._audio_pad] * len(rows), *self._after, *told])
        width = max(map(len, ids))
        id_tensor = torch.tensor([row + [0] * (width - len(row)) for row in ids])
        is_audio = id_tensor == self._audio_pad
        inputs = self.asr.decoder.embed_tokens(id_tensor)
        inputs = inputs.masked_scatter(is_audio.unsqueeze(-1), torch.cat(heard).to(inputs.dtype))
        # Padding lies to the right, so causality alone keeps it out.
        states = self.asr.decoder(inputs_embeds=inputs, use_cache=False, output_hidden_states=True)
        classes = self.score(states.last_hidden_state[id_tensor == self._timestamp])
        places = self.place(states.hidden_states[PLACED_LAYER][is_audio])
        counts = self.count(states.hidden_states[COUNTED_LAYER][is_audio])
        return Placed(classes.float(), places.float(), counts.float())


def save_aligner(model: TinyAligner, tokenizer: Qwen2Tokenizer, folder: Path) -> None:
    """Write a complete checkpoint in the native layout, float16."""
    folder.mkdir(parents=True, exist_ok=True)
    extractor = Qwen3ASRFeatureExtractor(return_attention_mask=True)
    Qwen3ASRProcessor(extractor, tokenizer, chat_template=CHAT_TEMPLATE).save_pretrained(folder)
    (folder / "config.json").write_text(
        json.dumps(json.loads(model.config.to_json_string(use_diff=False)), indent=2) + "\n"
    )
    head = {"score.weight": model.score.weight.detach().to(torch.float16).contiguous()}
    save_file({**native_state(model.asr), **head}, folder / "model.safetensors", metadata={"format": "pt"})
