"""The command that installs another engine of the decoder."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace


def for_vllm(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--build",
        choices=["cpu", "cuda"],
        help="what vLLM is to compute on; left out: what the PyTorch of this environment is built for",
    )


def vllm(arguments: Namespace) -> bool:
    """Install vLLM into an environment of its own, where the profiles `vllm` and `vllm_cuda` look for it."""
    from export.vllm import FOLDER, VERSION, install

    build = arguments.build or _build_of_torch()
    if not install(build):
        print(f"vLLM {VERSION} for {build} is in {FOLDER}")
        return False
    print(f"vLLM {VERSION} for {build}: {FOLDER}")
    return True


def _build_of_torch() -> str:
    import torch

    return "cuda" if torch.version.cuda else "cpu"
