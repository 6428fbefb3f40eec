"""The bytes that a byte-level token stands for."""

from __future__ import annotations

from tokenizers import Tokenizer


def _alphabet() -> dict[str, int]:
    """The characters by which byte-level BPE writes bytes (GPT-2, `bytes_to_unicode`): printable ones are themselves,
    the others follow from U+0100 on."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(0x100 + place): byte for place, byte in enumerate(others)}


ALPHABET = _alphabet()


class TokenBytes:
    """Bytes by token id. A character may be spread over several tokens; special tokens have no bytes."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        added = tokenizer.get_added_tokens_decoder()
        self._added = {number: b"" if token.special else token.content.encode() for number, token in added.items()}

    def __call__(self, token_id: int) -> bytes:
        if token_id in self._added:
            return self._added[token_id]
        written = self._tokenizer.id_to_token(token_id) or ""
        return bytes(ALPHABET[character] for character in written if character in ALPHABET)
