"""What each command of perf/loads/commands.py takes."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path

from frontend.triton.addresses import MOST_SERVERS
from frontend.triton.balancer import DRAWN
from perf.loads.normalizers import NAMES
from perf.planning.limits import CORES
from perf.speech.clips import RECORDINGS


def _common(parser: ArgumentParser) -> None:
    parser.add_argument("--url", help="a frontend that runs, e.g. http://127.0.0.1:8080; left out: one of its own")
    parser.add_argument("--json", type=Path, help="write the figures here, as one flat object")


def _grpc(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--grpc", metavar="HOST:PORT", help="Triton's gRPC address; left out: as the frontend tells it, or on its host"
    )


def _files(parser: ArgumentParser) -> None:
    parser.add_argument("--files", type=Path, default=RECORDINGS, help="a folder of sound files, or a manifest")


def http(parser: ArgumentParser) -> None:
    _common(parser)
    _files(parser)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--seconds", type=float, default=10.0, help="of each level")
    parser.add_argument("--stream", action="store_true", help="server-sent events: tells the time to the first text")


def ws(parser: ArgumentParser) -> None:
    _common(parser)
    parser.add_argument("--streams", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--seconds", type=float, default=20.0, help="of speech in each stream")


def capacity(parser: ArgumentParser) -> None:
    _common(parser)
    parser.add_argument("--bound-ms", type=float, default=500.0, help="of partials at p95")
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--most", type=int, default=1_024)


def mixed(parser: ArgumentParser) -> None:
    _common(parser)
    _files(parser)
    _grpc(parser)
    parser.add_argument("--streams", type=int, default=8)
    parser.add_argument("--bulk", type=int, default=8, help="clients that post files without a pause")
    parser.add_argument("--seconds", type=float, default=20.0, help="of the streams, each time")
    parser.add_argument("--turns", type=int, default=3, help="of which all are counted together")
    parser.add_argument(
        "--long-seconds",
        type=float,
        # `asr` takes 512 s of speech; the pauses come on top.
        default=540.0,
        help="of the clips that bulk clients of Triton itself ask for; 0: none",
    )


def accuracy(parser: ArgumentParser) -> None:
    _common(parser)
    _grpc(parser)
    parser.add_argument("manifest", type=Path, help=".jsonl, .csv, or a LibriSpeech, Kaldi or plain folder")
    parser.add_argument("--clips", type=int, default=10_000, help="at most so many")
    parser.add_argument(
        "--normalize",
        choices=NAMES,
        default="auto",
        help="how texts are made alike; auto: as Whisper's evaluation does it, and strings of digits digit by digit",
    )
    parser.add_argument("--no-live", action="store_true", help="offline only")
    parser.add_argument("--against", nargs="*", default=[], help="gRPC addresses of other servers to compare with")


def analyzer(parser: ArgumentParser) -> None:
    from perf.loads.analyzer import MODELS

    _common(parser)
    _grpc(parser)
    parser.add_argument("model", choices=MODELS)
    parser.add_argument("--files", type=Path, help="a folder of sound files, or a manifest; left out: digits")
    parser.add_argument("--levels", type=int, nargs="+", default=[1, 4, 16], help="concurrencies, or requests a second")
    parser.add_argument("--rates", action="store_true", help="levels are requests a second")
    parser.add_argument(
        "--leave", type=Path, metavar="FOLDER", help="leave the inputs there, and print the command lines that ran"
    )
    parser.add_argument("--width", type=int, default=128, help="of the decoder's embeddings (0.6B: 1024, 1.7B: 2048)")


def peers(parser: ArgumentParser) -> None:
    parser.add_argument("--json", type=Path, help="write the figures here, as one flat object")
    parser.add_argument("--quick", action="store_true", help="a short run")
    parser.add_argument("--size", choices=["0.6b", "1.7b", "small"], default="0.6b")
    parser.add_argument("--clips", type=int, default=8)


def compare(parser: ArgumentParser) -> None:
    parser.add_argument("before", type=Path, help="a file that --json or the report has written")
    parser.add_argument("after", type=Path)
    parser.add_argument("--within", type=float, default=0.15, help="how far apart two figures may be, as a share")
    parser.add_argument("--all", action="store_true", help="show the others as well")


def _numbers(text: str) -> list[int]:
    found = [int(part) for part in text.split(",")]
    if not all(1 <= number <= MOST_SERVERS for number in found):
        raise ValueError(text)
    return found


def plan(parser: ArgumentParser) -> None:
    parser.add_argument("--json", type=Path)
    parser.add_argument("--streams", type=int, default=1_000, help="live streams to serve")
    parser.add_argument("--cores", type=int, default=CORES, help="of the GPU's host")
    parser.add_argument("--interval-ms", type=float, default=450.0, help="between partials")
    parser.add_argument("--bound-ms", type=float, default=500.0, help="of partials at p95, with --measured")
    parser.add_argument(
        "--servers", type=_numbers, metavar="N,N", help="play a day of so many servers each, such as 10,100,1000"
    )
    parser.add_argument(
        "--drawn", type=_numbers, default=[DRAWN], metavar="N,N", help="of how many the least loaded is taken"
    )
    parser.add_argument("--hours", type=float, default=24.0, help="of that day, from midnight")
    parser.add_argument("--seed", type=int, default=0, help="of that day's arrivals and faults")
    parser.add_argument(
        "--measured",
        nargs="+",
        metavar="LEVEL:PER_SECOND",
        help="what perf_analyzer measured on asr_stream: inferences a second by concurrency, e.g. 1:65 4:105 16:126",
    )
