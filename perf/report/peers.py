"""Parts of the report that compare: the same clips, weights and machine, in turns."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import ExitStack

from perf.live import accuracy as live_accuracy
from perf.live import streams as live_streams
from perf.live.cost import measure as live_cost
from perf.loads.load import table
from perf.parts import asr
from perf.peers.environments import PeerMissing
from perf.peers.speed import TOKENS, Compared, compare, told, vllm_on_tiny
from perf.report import plots
from perf.report.page import Report, twice
from perf.speech.clips import mixed_clips

WHY_BEHIND = (
    "Where `asr` is behind: a peer is one program with all clips in hand; a clip here passes Triton's queues and four "
    "processes and is streamed, which for a network of 1.4 million weights is most of the work. What remains with the "
    "weights of the 0.6B model is below, under engines."
)


def files(page: Report, grpc: str, turns: int) -> str:
    """turns: of each of two runs."""
    clips = mixed_clips(48)
    texts: list[str] = []
    transformers = asr.Transformers(clips)
    ways: dict[str, Callable[[], float]] = {
        "asr, 16 at a time": lambda: asyncio.run(asr.rate(grpc, clips, 16, texts)),
        "transformers, batch 16": lambda: transformers.rate(16),
    }
    heard = {"transformers": transformers.texts}
    missing = ""
    with ExitStack() as stack:
        try:
            vllm = stack.enter_context(vllm_on_tiny(clips))
        except PeerMissing as error:
            missing = f"\n\nvLLM is not among them: {error}"
        else:
            heard["vllm"] = []

            def vllm_rate() -> float:
                answered = vllm()
                heard["vllm"] = answered.texts
                return len(clips) / answered.seconds

            ways["vllm, 16 at a time"] = vllm_rate
        runs: list[dict[str, float]] = [{}, {}]
        # In short turns, so that a slow minute of the machine falls on all, and on both runs of a ratio.
        for turn in range(2 * turns):
            for way, rate in ways.items():
                runs[turn % 2][way] = max(runs[turn % 2].get(way, 0.0), rate())
    alone = {
        f"asr, {count} at a time": max(asyncio.run(asr.rate(grpc, clips, count, [])) for _ in "12") for count in (1, 4)
    }
    rates = {**alone, **runs[0], "transformers, batch 1": max(transformers.rate(1) for _ in "12")}
    told = []
    for name, theirs in heard.items():
        way = next(one for one in ways if one.startswith(name))
        ratios = [run["asr, 16 at a time"] / run[way] for run in runs]
        different = sum(a != b for a, b in zip(texts, theirs, strict=True))
        page.figures |= {f"files.vs_{name}_{number}": ratio for number, ratio in enumerate(ratios)}
        page.figures[f"files.different_from_{name}"] = different
        told.append(f"over {name} {twice(ratios)}, transcripts that differ: {different}")
    seconds = sum(clip.size for clip in clips) / 16_000
    rows = [{"way": way, "clips/s": rate, "RTFx": rate * seconds / len(clips)} for way, rate in rates.items()]
    plots.bars(page.folder / "files.png", rates, "clips a second")
    return (
        f"{table(rows)}\n\n`asr`, 16 at a time, {len(clips)} clips: {'; '.join(told)}; the best of {turns} turns each."
        f"{missing}\n\n{WHY_BEHIND}\n\n![Files](files.png)"
    )


def live_designs(page: Report, grpc: str, pid: int, quick: bool) -> str:
    """Three designs of live transcription, on the same speech and server."""
    heard = asyncio.run(live_accuracy.measure(grpc, 8 if quick else 16))
    held = asyncio.run(live_streams.measure(grpc, pid, 5.0, 256))
    page.figures |= heard | held
    designs = {"`asr_stream`": "", "the session fed again": "_refeed", "fixed chunks": "_fixed_chunks"}
    rows = [
        {
            "design": design,
            "WER": f"{100 * heard['live.wer' + end]:.1f} %",
            "processor ms a second": held[f"live.cpu_ms{end}_0"],
            "in another run": held[f"live.cpu_ms{end}_1"],
            "streams within 500 ms at p95": held[f"live.streams_at_500ms{end or '_0'}"],
        }
        for design, end in designs.items()
    ]
    again, chunks = (
        twice([held[f"live.cpu_vs{end}_{number}"] for number in range(2)]) for end in ("_refeed", "_fixed_chunks")
    )
    return (
        f"{table(rows)}\n\nFixed chunks: one worker, 450 ms with 150 ms of overlap. Processor time of the whole server "
        f"for a second of a stream, {live_streams.AT_A_TIME} sessions of {live_streams.SESSION_S:g} s at a time, over "
        f"that of `asr_stream`: fed again {again}, fixed chunks {chunks}. Streams at the pace of speech: sessions of "
        f"5 s, in which little is fed again; of `asr_stream` {held['live.streams_at_500ms_1']:.0f} in another run. Of "
        f"{heard['live.partials']:.0f} partials and {heard['live.utterances']:.0f} finals of `asr_stream`, "
        f"{heard['live.mismatches']:.0f} differ from offline transcription of the same audio. The tiny checkpoint was "
        "made for clips of 20 s: for the WER a session fed again is longer."
    )


def live_step(page: Report, quick: bool) -> str:
    figures, curves = live_cost("small", quick=True, turns=3 if quick else 5)
    page.figures |= figures
    plots.lines(page.folder / "live_cost.png", curves, "seconds of session", "seconds of a step", log_y=True)
    rows = [
        {
            "seconds of session": seconds,
            "asr_stream": figures.get(f"live.step_s_around_{seconds}s"),
            "fed again": figures.get(f"live.refeed_s_at_{seconds}s"),
            "ratio": figures.get(f"live.vs_refeed_{seconds}s_0"),
            "in another run": figures.get(f"live.vs_refeed_{seconds}s_1"),
        }
        for seconds in (20, 60, 120)
    ]
    return (
        f"Seconds of a step with 0.5 s of new audio, `small` random weights (`asr_stream`: mean over the places in an "
        f"utterance of 20 s):\n\n{table(rows)}\n\n![Cost of a live step](live_cost.png)"
    )


def engines(page: Report, quick: bool) -> str:
    clips = mixed_clips(6)
    found = compare(clips, "small" if quick else "0.6b", 2)
    rows, missing = told(found)
    for name, one in found.items():
        if isinstance(one, Compared):
            page.figures |= {f"engines.vs_{name}_{number}": ratio for number, ratio in enumerate(one.ratios())}
    dimensions = "small" if quick else "0.6B"
    return (
        f"Random weights of the {dimensions} dimensions in the original layout, float32, {len(clips)} clips, {TOKENS} "
        "tokens each, from samples to tokens without a server: PyPI's `qwen-asr` (transformers, static batches) and "
        f"vLLM's CPU build (continuous batching, eager).\n\n" + "\n\n".join([table(rows), *missing])
    )
