"""Recordings to train on: human digits, and digits and digit strings spoken by free synthesizers.

Every source becomes one bank on disk, made once: recordings as int16 at 16 kHz with a voice name, a language and the
digits that are spoken. Synthesizers that are not installed are skipped with a message.
"""

from __future__ import annotations

import json
import logging
import random
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray
from tqdm import tqdm

logger = logging.getLogger(__name__)

SAMPLE_RATE_HZ = 16_000
WORDS = {
    "English": ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"],
    "Chinese": list("零一二三四五六七八九"),
}
# Never trained on: the synthetic voice of the held-out test.
HELD_OUT_VOICE = "flite-rms"
TEST_TAKES = range(5)
# Stands for the file that a synthesizer writes.
OUTPUT = "OUTPUT"
ESPEAK_ACCENTS = [
    "en-us",
    "en-gb",
    "en-gb-scotland",
    "en-gb-x-gbclan",
    "en-gb-x-rp",
    "en-gb-x-gbcwmd",
    "en-029",
    "en-us-nyc",
]
# Variants that sound like a person; whispers, robots and croaks teach nothing.
ESPEAK_VARIANTS = [
    "m1", "m2", "m3", "m4", "m5", "m6", "m7", "m8", "f1", "f2", "f3", "f4", "f5", "klatt", "klatt2", "klatt3",
    "klatt4", "Adam", "Alex", "Alicia", "Andrea", "Andy", "Annie", "Antonio", "Auntie", "Belinda", "Benjamin",
    "Boris", "Caleb", "David", "Denis", "Diogo", "Ed", "Edward", "Gene", "Gustave", "Henrique", "Hugo", "Iven",
    "Jacky", "John", "Lee", "Linda", "Marcelo", "Marco", "Mario", "Max", "Michael", "Michel", "Miguel", "Mike",
    "Nguyen", "Pablo", "Paul", "Pedro", "Quincy", "Rob", "Robert", "Steph", "Steph2", "Storm", "Zac", "anika",
    "grandma", "grandpa", "norbert", "sandro", "shelby", "travis", "victor",
]  # fmt: skip


@dataclass(frozen=True)
class Label:
    """What a recording says and who says it; `take` numbers the human recordings of one digit."""

    voice: str
    language: str
    digits: tuple[int, ...]
    take: int = -1


class Bank:
    """Recordings of one source: `recording(i)` is float32 PCM at 16 kHz, `labels[i]` what it says."""

    def __init__(self, folder: Path) -> None:
        self.samples = np.load(folder / "samples.npy", mmap_mode="r")
        index = json.loads((folder / "labels.json").read_text())
        self.offsets: list[int] = index["offsets"]
        self.labels = [Label(**{**row, "digits": tuple(row["digits"])}) for row in index["labels"]]

    def recording(self, index: int) -> NDArray[np.float32]:
        part = self.samples[self.offsets[index] : self.offsets[index + 1]]
        return part.astype(np.float32) / 32768.0


def save_bank(folder: Path, recordings: Iterator[tuple[Label, NDArray[np.float32]]]) -> int:
    """Write a bank; its labels are written last, so that a bank with labels is complete."""
    folder.mkdir(parents=True, exist_ok=True)
    labels: list[dict] = []
    parts: list[NDArray[np.int16]] = []
    offsets = [0]
    for label, pcm in recordings:
        if pcm.size < SAMPLE_RATE_HZ // 20 or float(np.abs(pcm).max()) < 1e-3:
            continue
        peak = max(1.0, float(np.abs(pcm).max()))
        parts.append((pcm / peak * 32767.0).astype(np.int16))
        labels.append(asdict(label))
        offsets.append(offsets[-1] + pcm.size)
    np.save(folder / "samples.npy", np.concatenate(parts))
    (folder / "labels.json").write_text(json.dumps({"offsets": offsets, "labels": labels}))
    return len(labels)


def trim(pcm: NDArray[np.float32], threshold: float = 0.01, margin: int = 400) -> NDArray[np.float32]:
    """Cut what is quieter than `threshold` of the peak off both ends, but for `margin` samples."""
    loud = np.flatnonzero(np.abs(pcm) > threshold * max(1e-6, float(np.abs(pcm).max())))
    if loud.size == 0:
        return pcm
    return pcm[max(0, loud[0] - margin) : loud[-1] + margin]


def read_wav(path: Path) -> NDArray[np.float32]:
    pcm, rate = soundfile.read(path, dtype="float32")
    return soxr.resample(pcm, rate, SAMPLE_RATE_HZ) if rate != SAMPLE_RATE_HZ else pcm


def human_digits(recordings: Path) -> Iterator[tuple[Label, NDArray[np.float32]]]:
    """Free Spoken Digit Dataset: files named {digit}_{speaker}_{take}.wav."""
    for path in sorted(recordings.glob("*.wav")):
        digit, speaker, take = path.stem.split("_")
        yield Label(f"human-{speaker}", "English", (int(digit),), int(take)), read_wav(path)


def random_digits(rng: random.Random, most: int = 12) -> tuple[int, ...]:
    """1 to `most` digits; every third string has runs of one digit, so that nothing learns to count on change."""
    count = rng.randint(1, most)
    digits = [rng.randrange(10) for _ in range(count)]
    if rng.random() < 0.33:
        for i in range(1, count):
            if rng.random() < 0.5:
                digits[i] = digits[i - 1]
    return tuple(digits)


def _spoken(digits: tuple[int, ...], language: str, rng: random.Random) -> str:
    separator = rng.choice([" ", " ", ", "])
    return separator.join(WORDS[language][d] for d in digits)


def _speak(job: tuple[Label, list[str]]) -> tuple[Label, NDArray[np.float32]] | None:
    """Run a synthesizer that writes to the file OUTPUT of its command; None where it fails."""
    label, command = job
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "speech.wav"
        command = [str(output) if part == OUTPUT else part for part in command]
        done = subprocess.run(command, capture_output=True, timeout=60, check=False)
        if done.returncode != 0 or not output.exists():
            return None
        return label, trim(read_wav(output))


def _speak_all(jobs: list[tuple[Label, list[str]]], title: str) -> Iterator[tuple[Label, NDArray[np.float32]]]:
    with ThreadPoolExecutor(2) as pool:
        for made in tqdm(pool.map(_speak, jobs), total=len(jobs), desc=title):
            if made is not None:
                yield made


def espeak(language: str, num_strings: int, seed: int) -> Iterator[tuple[Label, NDArray[np.float32]]]:
    """Half single digits, half strings, over all accents, variants, speeds and pitches of espeak-ng."""
    rng = random.Random(seed)
    accents = ESPEAK_ACCENTS if language == "English" else ["cmn"]
    jobs = []
    for number in range(num_strings):
        accent, variant = rng.choice(accents), rng.choice(ESPEAK_VARIANTS)
        digits = random_digits(rng) if number % 2 else (rng.randrange(10),)
        voice = f"espeak-{accent}+{variant}"
        command = [
            "espeak-ng",
            "-w",
            OUTPUT,
            "-v",
            f"{accent}+{variant}",
            "-s",
            str(rng.randint(95, 220)),
            "-p",
            str(rng.randint(20, 85)),
        ]
        jobs.append((Label(voice, language, digits), [*command, _spoken(digits, language, rng)]))
    return _speak_all(jobs, f"espeak-ng {language}")


def flite(num_strings: int, seed: int) -> Iterator[tuple[Label, NDArray[np.float32]]]:
    rng = random.Random(seed)
    jobs = []
    for number in range(num_strings):
        name = rng.choice(["slt", "awb", "kal", "kal16", "rms"])
        digits = random_digits(rng) if number % 2 else (rng.randrange(10),)
        command = ["flite", "-o", OUTPUT, "-voice", name, "--setf", f"duration_stretch={rng.uniform(0.75, 1.35):.3f}"]
        if name != "awb":
            command += ["--setf", f"int_f0_target_mean={rng.uniform(80, 220):.0f}"]
        jobs.append((Label(f"flite-{name}", "English", digits), [*command, "-t", _spoken(digits, "English", rng)]))
    return _speak_all(jobs, "flite")


def festival(num_strings: int, seed: int) -> Iterator[tuple[Label, NDArray[np.float32]]]:
    """Festival's two diphone voices, spoken by one process that reads a Scheme script."""
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        labels, script = [], []
        for number in range(num_strings):
            name = rng.choice(["kal_diphone", "ked_diphone"])
            digits = random_digits(rng) if number % 2 else (rng.randrange(10),)
            labels.append(Label(f"festival-{name}", "English", digits))
            text = _spoken(digits, "English", rng)
            script.append(f"(voice_{name})(Parameter.set 'Duration_Stretch {rng.uniform(0.75, 1.35):.3f})")
            script.append(f'(utt.save.wave (utt.synth (Utterance Text "{text}")) "{folder}/{number}.wav")')
        path = Path(folder) / "speak.scm"
        path.write_text("\n".join(script))
        subprocess.run(["festival", "-b", str(path)], capture_output=True, timeout=1800, check=False)
        for number, label in enumerate(labels):
            output = Path(folder) / f"{number}.wav"
            if output.exists():
                yield label, trim(read_wav(output))


def hibari(num_strings: int, seed: int) -> Iterator[tuple[Label, NDArray[np.float32]]]:
    from hibari import SAMPLE_RATE, Hibari

    rng = random.Random(seed)
    voice = Hibari()
    for number in tqdm(range(num_strings), desc="hibari"):
        digits = random_digits(rng) if number % 2 else (rng.randrange(10),)
        pcm = voice(_spoken(digits, "English", rng), speed=rng.uniform(0.75, 1.3), seed=rng.randrange(2**31))
        pcm = soxr.resample(np.asarray(pcm, dtype=np.float32), SAMPLE_RATE, SAMPLE_RATE_HZ)
        yield Label("hibari-heart", "English", digits), trim(pcm)


def prepare_banks(speech: Path, banks: Path) -> None:
    """Make every bank that is missing under `banks`; `speech` holds `fsdd/recordings`."""
    human = speech / "fsdd" / "recordings"
    if not human.is_dir():
        raise FileNotFoundError(f"human speech not found: {human}")
    makers = {
        "human": (None, lambda: human_digits(human)),
        "espeak-english": ("espeak-ng", lambda: espeak("English", 7000, seed=1)),
        "espeak-chinese": ("espeak-ng", lambda: espeak("Chinese", 6000, seed=2)),
        "flite": ("flite", lambda: flite(3000, seed=3)),
        "festival": ("festival", lambda: festival(600, seed=4)),
        "hibari": ("hibari", lambda: hibari(1500, seed=5)),
    }
    for name, (program, make) in makers.items():
        folder = banks / name
        if (folder / "labels.json").exists():
            continue
        if program is not None and shutil.which(program) is None:
            logger.warning("%s is not installed: its voices are left out", program)
            continue
        logger.info("%s: %d recordings", name, save_bank(folder, make()))
