"""Utterances to train and test on: digits joined with gaps, augmented, and sounds that say nothing."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import soxr
from numpy.typing import NDArray
from scipy import signal

from export.tiny.voices import HELD_OUT_VOICE, SAMPLE_RATE_HZ, TEST_TAKES, Bank, random_digits

Pcm = NDArray[np.float32]
MAX_SECONDS = 20.0
# Some clips are longer, so that positions far behind are not new to the decoder.
MAX_LONG_SECONDS = 64.0


@dataclass(frozen=True)
class Utterance:
    """PCM at 16 kHz and what it says; `language` is "None" where nothing is said."""

    pcm: Pcm
    language: str
    digits: tuple[int, ...]


def is_test(voice: str, take: int) -> bool:
    return voice == HELD_OUT_VOICE or take in TEST_TAKES


@dataclass
class Corpus:
    """Recordings that may be used, by voice: single digits, and whole strings."""

    digits: dict[tuple[str, str], dict[int, list[Pcm]]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(list))
    )
    strings: dict[str, list[Utterance]] = field(default_factory=lambda: defaultdict(list))

    @classmethod
    def training(cls, banks: Path, leave_out: str | None) -> Corpus:
        """Everything but test takes, the held-out synthetic voice and the human speaker `leave_out`."""
        return cls._load(banks, lambda voice, take: not is_test(voice, take) and voice != f"human-{leave_out}")

    @classmethod
    def testing(cls, banks: Path, voice: str) -> Corpus:
        """The test takes of one voice (a synthetic voice's recordings are all of them test takes)."""
        return cls._load(banks, lambda name, take: name == voice and (is_test(name, take)))

    @classmethod
    def of_voice(cls, banks: Path, voice: str) -> Corpus:
        """Every recording of one voice."""
        return cls._load(banks, lambda name, _: name == voice)

    @classmethod
    def _load(cls, banks: Path, wanted: Callable[[str, int], bool]) -> Corpus:
        corpus = cls()
        for folder in sorted(path.parent for path in banks.glob("*/labels.json")):
            bank = Bank(folder)
            for index, label in enumerate(bank.labels):
                if not wanted(label.voice, label.take):
                    continue
                pcm = bank.recording(index)
                if len(label.digits) == 1:
                    corpus.digits[label.language, label.voice][label.digits[0]].append(pcm)
                if len(label.digits) > 1 or not label.voice.startswith("human"):
                    corpus.strings[label.language].append(Utterance(pcm, label.language, label.digits))
        return corpus


def silence(seconds: float) -> Pcm:
    return np.zeros(int(seconds * SAMPLE_RATE_HZ), dtype=np.float32)


def change_speed(pcm: Pcm, speed: float) -> Pcm:
    """Play faster or slower: moves tempo, pitch and formants together, which makes new speakers of old ones."""
    return soxr.resample(pcm, SAMPLE_RATE_HZ * speed, SAMPLE_RATE_HZ, quality="LQ")


def joined(recordings: list[Pcm], gaps: list[float]) -> Pcm:
    """Recordings with gaps[i] seconds of silence before the i-th and gaps[-1] at the end."""
    parts: list[Pcm] = []
    for gap, pcm in zip(gaps, recordings, strict=False):
        parts += [silence(gap), pcm]
    return np.concatenate([*parts, silence(gaps[-1])])


def _level(pcm: Pcm) -> float:
    loud = pcm[np.abs(pcm) > 1e-3]
    return float(np.sqrt(np.mean(loud**2))) if loud.size else 1e-3


def coloured_noise(num_samples: int, rng: np.random.Generator) -> Pcm:
    """Noise of unit power whose spectrum falls by a random power of the frequency."""
    spectrum = np.fft.rfft(rng.standard_normal(num_samples))
    frequencies = np.maximum(np.arange(spectrum.size), 1.0)
    noise = np.fft.irfft(spectrum * frequencies ** -rng.uniform(0.0, 1.0), num_samples)
    return (noise / (noise.std() + 1e-9)).astype(np.float32)


def augment(pcm: Pcm, rng: np.random.Generator) -> Pcm:
    """Band limit, tilt, reverberation, noise and gain, each with a chance of its own."""
    if rng.random() < 0.5:
        cutoff_hz = rng.uniform(3_400, 6_500)
        pcm = signal.sosfilt(signal.butter(4, cutoff_hz, fs=SAMPLE_RATE_HZ, output="sos"), pcm)
    if rng.random() < 0.3:
        pcm = signal.sosfilt(signal.butter(1, rng.uniform(80, 400), "high", fs=SAMPLE_RATE_HZ, output="sos"), pcm)
    if rng.random() < 0.5:
        tilt = rng.uniform(-0.6, 0.6)
        pcm = signal.lfilter([1.0, tilt], [1.0], pcm)
    if rng.random() < 0.3:
        length = int(rng.uniform(0.03, 0.25) * SAMPLE_RATE_HZ)
        response = rng.standard_normal(length) * np.exp(-np.arange(length) / (length / 5)) * rng.uniform(0.02, 0.2)
        response[0] = 1.0
        pcm = signal.fftconvolve(pcm, response)[: pcm.size]
    if rng.random() < 0.75:
        noise = coloured_noise(pcm.size, rng)
        pcm = pcm + noise * _level(pcm) * 10 ** (-rng.uniform(8, 45) / 20)
    pcm = pcm / (np.abs(pcm).max() + 1e-9) * 10 ** (-rng.uniform(0, 30) / 20)
    return pcm.astype(np.float32)


def non_speech(rng: np.random.Generator, longest: float = MAX_SECONDS) -> Pcm:
    """0.5 s to `longest` of silence, noise, hum, clicks or music-like chords, alone or mixed."""
    seconds = rng.uniform(0.5, longest) if longest > MAX_SECONDS or rng.random() < 0.5 else rng.uniform(0.5, 6)
    num_samples = int(seconds * SAMPLE_RATE_HZ)
    time = np.arange(num_samples) / SAMPLE_RATE_HZ
    pcm = np.zeros(num_samples)
    kinds = rng.permutation(["noise", "hum", "chords", "clicks", "bursts"])[: rng.integers(0, 3)]
    for kind in kinds:
        if kind == "noise":
            pcm += coloured_noise(num_samples, rng)
        elif kind == "hum":
            base_hz = rng.choice([50, 60, rng.uniform(70, 400)])
            pcm += sum(rng.uniform(0, 1) * np.sin(2 * np.pi * base_hz * (k + 1) * time) for k in range(5))
        elif kind == "chords":
            position = 0
            while position < num_samples:
                length = int(rng.uniform(0.1, 1.5) * SAMPLE_RATE_HZ)
                note = time[: min(length, num_samples - position)]
                envelope = np.exp(-note * rng.uniform(0.5, 8))
                for pitch in rng.integers(40, 84, rng.integers(1, 4)):
                    tone_hz = 440 * 2 ** ((pitch - 69) / 12)
                    tone = sum(
                        rng.uniform(0, 1) / (k + 1) * np.sin(2 * np.pi * tone_hz * (k + 1) * note) for k in range(4)
                    )
                    pcm[position : position + note.size] += tone * envelope
                position += length
        elif kind == "clicks":
            for position in rng.integers(0, num_samples, rng.integers(1, 30)):
                length = min(int(rng.uniform(10, 1500)), num_samples - position)
                pcm[position : position + length] += rng.standard_normal(length) * np.exp(
                    -np.arange(length) / (length / 4 + 1)
                )
        else:
            for position in rng.integers(0, num_samples, rng.integers(1, 12)):
                length = min(int(rng.uniform(0.05, 0.7) * SAMPLE_RATE_HZ), num_samples - position)
                if length > 16:
                    pcm[position : position + length] += coloured_noise(length, rng) * np.hanning(length)
    peak = np.abs(pcm).max()
    if peak > 0:
        pcm = pcm / peak * 10 ** (-rng.uniform(0, 55) / 20)
    return pcm.astype(np.float32)


class Composer:
    """Draws training utterances from a corpus: about half human speech, a third Mandarin, some that say nothing."""

    def __init__(self, corpus: Corpus, seed: int, long_share: float = 0.0) -> None:
        """long_share: how many of the clips are of up to a minute."""
        self.corpus = corpus
        self.long_share = long_share
        self.random = random.Random(seed)
        self.numpy = np.random.default_rng(seed)
        self.human = [key for key in corpus.digits if key[1].startswith("human")]
        # A voice can speak a string of its single digits only where it has said enough of them.
        self.synthetic = [
            key for key, by_digit in corpus.digits.items() if not key[1].startswith("human") and len(by_digit) >= 4
        ]

    def draw(self) -> Utterance:
        if self.random.random() < self.long_share:
            return self._long()
        kind = self.random.random()
        if kind < 0.08:
            pcm = non_speech(self.numpy)
            return Utterance(pcm, "None", ())
        if kind < 0.50 and self.human:
            utterance = self._joined(self.random.choice(self.human))
        elif kind < 0.62:
            utterance = self._joined(self.random.choice(self.synthetic))
        else:
            utterance = self._string("English" if self.random.random() < 0.45 else "Chinese")
        return Utterance(augment(utterance.pcm, self.numpy), utterance.language, utterance.digits)

    def _long(self) -> Utterance:
        """Nothing for up to a minute, or several utterances of one language with long pauses."""
        if self.random.random() < 0.5:
            return Utterance(non_speech(self.numpy, MAX_LONG_SECONDS), "None", ())
        english = self.random.random() < 0.7
        key = self.random.choice(self.human or self.synthetic)
        seconds = self.random.uniform(20, MAX_LONG_SECONDS)
        parts: list[Utterance] = []
        pauses = [self._edge()]
        while sum(part.pcm.size for part in parts) / SAMPLE_RATE_HZ + sum(pauses) < seconds:
            parts.append(self._joined(key) if english else self._string("Chinese"))
            pauses.append(self.random.choice([self._gap(), self.random.uniform(0, 8)]))
        pcm = joined([part.pcm for part in parts], pauses)
        digits = tuple(digit for part in parts for digit in part.digits)
        return Utterance(augment(pcm, self.numpy), parts[0].language, digits)

    def _gap(self) -> float:
        roll = self.random.random()
        if roll < 0.1:
            return self.random.uniform(0.0, 0.05)
        if roll < 0.9:
            return self.random.uniform(0.05, 0.5)
        return self.random.uniform(0.5, 2.0)

    def _edge(self) -> float:
        return self.random.choice([0.0, self.random.uniform(0, 0.5), self.random.uniform(0, 2.0)])

    def _speed(self) -> float:
        return self.random.uniform(0.75, 1.35) if self.random.random() < 0.8 else 1.0

    def _joined(self, key: tuple[str, str]) -> Utterance:
        by_digit = self.corpus.digits[key]
        digits = tuple(d for d in random_digits(self.random) if d in by_digit) or (next(iter(by_digit)),)
        speed = self._speed()
        recordings = [
            change_speed(self.random.choice(by_digit[d]), speed) * self.random.uniform(0.5, 1.0) for d in digits
        ]
        gaps = [self._edge(), *(self._gap() for _ in digits[1:]), self._edge()]
        return self._fitted(joined(recordings, gaps), recordings, digits, key[0])

    def _fitted(self, pcm: Pcm, recordings: list[Pcm], digits: tuple[int, ...], language: str) -> Utterance:
        while pcm.size > MAX_SECONDS * SAMPLE_RATE_HZ:
            recordings, digits = recordings[:-1], digits[:-1]
            pcm = joined(recordings, [0.1] * (len(recordings) + 1))
        return Utterance(pcm, language, digits)

    def _string(self, language: str) -> Utterance:
        """A spoken string, or two or three of them with pauses: clips of several blocks."""
        parts = [self.random.choice(self.corpus.strings[language])]
        while len(parts) < 3 and self.random.random() < 0.3:
            parts.append(self.random.choice(self.corpus.strings[language]))
        speed = self._speed()
        recordings = [change_speed(part.pcm, speed) for part in parts]
        while len(recordings) > 1 and (
            sum(r.size for r in recordings) > 16 * SAMPLE_RATE_HZ or sum(len(p.digits) for p in parts) > 12
        ):
            parts, recordings = parts[:-1], recordings[:-1]
        gaps = [self._edge(), *(self._gap() for _ in parts[1:]), self._edge()]
        digits = tuple(d for part in parts for d in part.digits)
        pcm = joined(recordings, gaps)
        if pcm.size > MAX_SECONDS * SAMPLE_RATE_HZ:
            pcm = recordings[0][: int(MAX_SECONDS * SAMPLE_RATE_HZ)]
        return Utterance(pcm, language, digits)


def digit_strings(
    corpus: Corpus, count: int, shortest: int, longest: int, seed: int, *, repeats: bool = False
) -> list[Utterance]:
    """Strings of digits of each voice in turn, joined with gaps of 50 to 500 ms, nothing else done to them.

    With `repeats`, every string consists of runs of the same digit.
    """
    rng = random.Random(seed)
    keys = sorted(corpus.digits)
    made = []
    for number in range(count):
        key = keys[number % len(keys)]
        by_digit = corpus.digits[key]
        digits = [rng.randrange(10) for _ in range(rng.randint(shortest, longest))]
        if repeats:
            digits = [digits[i - i % 3] for i in range(len(digits))]
        recordings = [rng.choice(by_digit[d]) for d in digits]
        gaps = [rng.uniform(0.05, 0.5) for _ in range(len(digits) + 1)]
        made.append(Utterance(joined(recordings, gaps), key[0], tuple(digits)))
    return made
