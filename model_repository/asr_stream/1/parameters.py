"""The parameters of live transcription. What a session may ask for by itself is in settings.py."""

from __future__ import annotations

from dataclasses import dataclass

from .declaration import Declared, parameter


@dataclass(frozen=True)
class Parameters(Declared):
    triton_url: str = parameter(
        "127.0.0.1:8001", "The gRPC address of this server; the variable ASR_STREAM_TRITON_URL goes before it."
    )
    step: str = parameter("asr_step", "The model that encodes mel blocks and finds their words.")
    decoder: str = parameter("decoder", "The model within it that finds the words.")
    fast_step: str = parameter("", "Of two sizes, the small checkpoint's step, for partials; empty: there is one size.")
    fast_decoder: str = parameter("", "The model within it that finds the words.")
    aligner: str = parameter(
        "align", "The model that finds when words were said, where one is exported; empty: words have no times."
    )
    speakers: str = parameter(
        "speakers", "The model that tells speakers apart, where one is exported; empty: nobody is told who speaks."
    )
    max_sessions: int = parameter(512, "Live sessions at a time; more are refused.", low=1)
    max_backlog_s: float = parameter(
        120.0, "Audio of one session that may wait to be heard; a client that sends faster is told so.", low=0
    )
    # Triton forgets a sequence after max_sequence_idle_microseconds of config.pbtxt: the session has to be first.
    idle_s: float = parameter(30.0, "A session without audio for so long is finished and closed.", low=0)
    retry_s: float = parameter(
        60.0, "While models fail, which heal by themselves, a final is tried again for so long.", low=0.1
    )
    min_partial_interval_ms: int = parameter(
        100,
        "The smallest partial_interval_ms that a session may ask for, and the least time between two steps.",
        low=20,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if bool(self.fast_step) != bool(self.fast_decoder):
            raise ValueError("fast_step and fast_decoder are named together, or neither of them")

    @property
    def two_sizes(self) -> bool:
        """Whether partials are the small checkpoint's."""
        return bool(self.fast_decoder)

    @property
    def step_timeout_s(self) -> float:
        """Of one step: after a stall there is time for another one."""
        return self.retry_s / 2
