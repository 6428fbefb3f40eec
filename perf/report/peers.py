"""Parts of the report that compare: the same clips, weights and machine, in turns."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack

from perf import asr, live_accuracy, live_streams, plots
from perf.clips import mixed_clips
from perf.environments import PeerMissing
from perf.live_cost import measure as live_cost
from perf.load import table
from perf.peers.speed import TOKENS, Compared, compare, told, vllm_on_tiny
from perf.report.page import Report, twice

WHY_BEHIND = (
    "Where `asr` is behind: a peer is one program with all clips in hand; a clip here passes Triton's queues and five "
    "processes and is streamed, which for a network of 1.4 million weights is most of the work. What remains with the "
    "weights of the 0.6B model is below, under engines."
)


def files(page: Report, grpc: str, quick: bool) -> str:
    clips = mixed_clips(48 if quick else 96)
    seconds = sum(clip.size for clip in clips) / 16_000
    turns: list[dict[str, float]] = []
    missing = ""
    with ExitStack() as stack:
        try:
            vllm = stack.enter_context(vllm_on_tiny(clips))
        except PeerMissing as error:
            vllm, missing = None, f"\n\nvLLM is not among them: {error}"
        # In turn, so that a slow minute of the machine falls on all, and on both runs of a ratio.
        for _ in range(2 if quick else 4):
            ours, texts = asyncio.run(asr.measure_triton(grpc, clips, 1))
            theirs, their_texts = asr.measure_transformers(clips, 1)
            turns.append({**{f"asr, {count} at a time": rate for count, rate in ours.items()}, **theirs})
            heard = {"transformers": their_texts}
            if vllm is not None:
                answered = min(vllm(), vllm(), key=lambda one: one.seconds)
                turns[-1]["vLLM, 16 at a time"] = len(clips) / answered.seconds
                heard["vllm"] = answered.texts
    runs = [{way: max(turn[way] for turn in half) for way in turns[0]} for half in (turns[::2], turns[1::2])]
    ratios = {"transformers": [_over(run, "transformers") for run in runs]}
    if vllm is not None:
        ratios["vllm"] = [_over(run, "vLLM") for run in runs]
    for name, values in ratios.items():
        page.figures |= {f"files.vs_{name}_{number}": ratio for number, ratio in enumerate(values)}
        page.figures[f"files.different_from_{name}"] = sum(a != b for a, b in zip(texts, heard[name], strict=True))
    rows = [{"way": way, "clips/s": rate, "RTFx": rate * seconds / len(clips)} for way, rate in runs[0].items()]
    plots.bars(page.folder / "files.png", runs[0], "clips a second")
    over = "; ".join(
        f"over {name} {twice(values)}, transcripts that differ: {page.figures[f'files.different_from_{name}']}"
        for name, values in ratios.items()
    )
    return (
        f"{table(rows)}\n\n`asr`, 16 at a time, {len(clips)} clips: {over}. Of transformers the better way counts."
        f"{missing}\n\n{WHY_BEHIND}"
        "\n\n![Files](files.png)"
    )


def _over(rates: dict[str, float], name: str) -> float:
    """The ensemble's clips a second over the best of a peer's ways."""
    return rates["asr, 16 at a time"] / max(rate for way, rate in rates.items() if way.startswith(name))


def live_designs(page: Report, grpc: str, quick: bool) -> str:
    """Three designs of live transcription, on the same speech and server."""
    heard = asyncio.run(live_accuracy.measure(grpc, 8 if quick else 16))
    held = asyncio.run(live_streams.measure(grpc, 4.0 if quick else 5.0, 128))
    page.figures |= heard | held
    designs = {"`asr_stream`": "", "the session fed again": "_refeed", "fixed chunks": "_fixed_chunks"}
    rows = [
        {
            "design": design,
            "WER": f"{100 * heard['live.wer' + end]:.1f} %",
            "streams within 500 ms at p95": held["live.streams_at_500ms" + end],
        }
        for design, end in designs.items()
    ]
    return (
        f"{table(rows)}\n\nFixed chunks: one worker, 450 ms with 150 ms of overlap. Of {heard['live.partials']:.0f} "
        f"partials and {heard['live.utterances']:.0f} finals of `asr_stream`, {heard['live.mismatches']:.0f} differ "
        "from offline transcription of the same audio. The tiny checkpoint was made for clips of 20 s: a session fed "
        "again is longer."
    )


def live_step(page: Report, quick: bool) -> str:
    figures, curves = live_cost("small", quick=quick)
    page.figures |= figures
    plots.lines(page.folder / "live_cost.png", curves, "seconds of session", "seconds of a step", log_y=True)
    rows = [
        {
            "seconds of session": seconds,
            "asr_stream": figures.get(f"live.step_s_at_{seconds}s"),
            "fed again": figures.get(f"live.refeed_s_at_{seconds}s"),
            "ratio": figures.get(f"live.vs_refeed_{seconds}s"),
        }
        for seconds in (20, 60, 120)
    ]
    return (
        f"Seconds of a step with 0.5 s of new audio, `small` random weights:\n\n{table(rows)}\n\n"
        "![Cost of a live step](live_cost.png)"
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
