"""How well the tiny checkpoints hear: word error rates over speech they were not trained on."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jiwer
import numpy as np
from tqdm import tqdm

from export.local import LocalAsr
from export.tiny.compose import Corpus, Utterance, coloured_noise, digit_strings, non_speech
from export.tiny.voices import HELD_OUT_VOICE, WORDS

BATCH = 32


def evaluate(work: Path, held_out_speaker: str, folders: dict[str, Path], json_path: Path | None) -> None:
    """Print the figures of the model card. folders: checkpoint folders by name; `<name>` and `<name>-held-out`."""
    sets = _test_sets(work / "banks", held_out_speaker)
    figures: dict[str, Any] = {}
    for name, folder in folders.items():
        with LocalAsr(folder) as asr:
            for title, make in sets.items():
                if ("stranger" in title) == name.endswith("held-out"):
                    figures.update({f"{name}.{title}.{key}": value for key, value in _figures(asr, make()).items()})
            if not name.endswith("held-out"):
                figures[f"{name}.words_in_60s_noise_and_silence"] = _words_in_noise(asr)
    for name in folders:
        # All errors over all words of the checkpoint's sets: what "twice the errors" is judged by.
        words = sum(value for key, value in figures.items() if key.startswith(f"{name}.") and key.endswith(".words"))
        errors = sum(value for key, value in figures.items() if key.startswith(f"{name}.") and key.endswith(".errors"))
        figures[f"{name}.all.wer_percent"] = round(100 * errors / words, 2)
    for key, value in figures.items():
        print(f"{key:60} {value}")
    if json_path is not None:
        json_path.write_text(json.dumps(figures, indent=2) + "\n")


def _test_sets(banks: Path, held_out_speaker: str) -> dict[str, Callable[[], list[Utterance]]]:
    def known() -> Corpus:
        corpus = Corpus()
        for path in sorted(banks.glob("human/labels.json")):
            for voice in sorted({row["voice"] for row in json.loads(path.read_text())["labels"]}):
                part = Corpus.testing(banks, voice)
                corpus.digits.update(part.digits)
        return corpus

    def chinese() -> list[Utterance]:
        return _held_out_chinese()

    return {
        "known_speakers": lambda: digit_strings(known(), 500, 2, 7, seed=11),
        "known_speakers_long": lambda: digit_strings(known(), 100, 8, 12, seed=12),
        "known_speakers_repeats": lambda: digit_strings(known(), 200, 3, 12, seed=13, repeats=True),
        "stranger_human": lambda: digit_strings(
            Corpus.of_voice(banks, f"human-{held_out_speaker}"), 300, 2, 7, seed=14
        ),
        "unheard_synthetic_voice": lambda: digit_strings(Corpus.of_voice(banks, HELD_OUT_VOICE), 300, 2, 7, seed=15),
        "unheard_synthetic_strings": lambda: Corpus.of_voice(banks, HELD_OUT_VOICE).strings["English"],
        "chinese_new_strings": chinese,
    }


def _held_out_chinese() -> list[Utterance]:
    """New Mandarin strings: other digits, speeds and pitches than were trained on, by the same synthesizer."""
    from export.tiny.voices import espeak

    return [
        Utterance(np.pad(pcm, 4000), label.language, label.digits)
        for label, pcm in espeak("Chinese", 400, seed=77)
        if len(label.digits) > 1
    ]


def _figures(asr: LocalAsr, utterances: list[Utterance]) -> dict[str, float]:
    references, hypotheses = [], []
    right_language = long_enough = exact = 0
    for start in tqdm(range(0, len(utterances), BATCH), leave=False):
        part = utterances[start : start + BATCH]
        for utterance, answer in zip(part, asr.transcribe([u.pcm for u in part]), strict=True):
            # Chinese is written without spaces; an error is counted per digit in both languages.
            text = answer.text if " " in answer.text or utterance.language == "English" else " ".join(answer.text)
            references.append(" ".join(WORDS[utterance.language][d] for d in utterance.digits))
            hypotheses.append(text)
            exact += text == references[-1]
            if len(utterance.digits) >= 3:
                long_enough += 1
                right_language += answer.language == utterance.language
    measured = jiwer.process_words(references, hypotheses)
    return {
        "wer_percent": round(100 * measured.wer, 2),
        "errors": measured.substitutions + measured.deletions + measured.insertions,
        "words": measured.hits + measured.substitutions + measured.deletions,
        "strings_right_percent": round(100 * exact / len(utterances), 1),
        "language_right_percent": round(100 * right_language / max(1, long_enough), 2),
        "strings": len(utterances),
    }


def _words_in_noise(asr: LocalAsr) -> int:
    """Words heard in a minute each of silence and noises, whole and in pieces of 10 s, every sample taken as speech."""
    rng = np.random.default_rng(5)
    minute = 60 * 16_000
    clips = [np.zeros(minute, dtype=np.float32)]
    clips += [(coloured_noise(minute, rng) * level).astype(np.float32) for level in (0.001, 0.01, 0.1)]
    pieces = [clip[start : start + 160_000] for clip in clips for start in range(0, minute, 160_000)]
    pieces += [non_speech(rng) for _ in range(60)]
    answers = [answer for part in (clips, pieces) for answer in asr.transcribe(part)]
    return sum(len(answer.text.split()) if " " in answer.text else int(bool(answer.text)) for answer in answers)
