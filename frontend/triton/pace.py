"""How often a server's models are asked, and for how long an answer is waited for."""

from __future__ import annotations

from dataclasses import dataclass, replace

from frontend.settings import Settings

# Far above what an idle thread of a busy machine waits for its turn.
STALL_S = 30.0
# Where it is seen that a process computes nothing, no line and no slow machine is a reason for its silence.
STILL_S = 10.0
# Where their processes are seen, questions are left for what a process that lives can be wrong with.
SEEN_INTERVAL_S, SEEN_CANARY_S = 1.0, 10.0


@dataclass(frozen=True)
class Pace:
    """interval_s: between two rounds of small questions. canary_s: a way that nobody's request went for so long is
    gone by a canary. answer_s: a question's deadline. hang_s: a model that answered nothing for so long is lost.
    still_s: the same of one whose processes are seen, and compute nothing. state_s, server_hang_s: the same of the
    server, which tells its models' state itself. load_s: how long a model may take to be there. processes_s: between
    two looks at the processes, where those can be seen."""

    interval_s: float = 0.5
    canary_s: float = 5.0
    answer_s: float = 5.0
    # An encoder on a CPU may have a minute's work in line before a question, and is not lost.
    hang_s: float = 120.0
    state_s: float = 2.0
    server_hang_s: float = 8.0
    load_s: float = 120.0
    processes_s: float = 0.25

    @staticmethod
    def of(settings: Settings, *, processes_are_seen: bool) -> Pace:
        """What the settings say, where the models' processes can be looked at or not."""
        pace = Pace(load_s=settings.triton_start_timeout_s, hang_s=settings.hang_s)
        return replace(pace, interval_s=SEEN_INTERVAL_S, canary_s=SEEN_CANARY_S) if processes_are_seen else pace

    @property
    def stall_s(self) -> float:
        """The same as hang_s of those that compute nothing for a small question, and the least after which an engine
        that does not end its step stands still."""
        return min(STALL_S, self.hang_s)

    @property
    def still_s(self) -> float:
        """The same as hang_s of those whose processes are seen to compute nothing meanwhile."""
        return min(STILL_S, self.hang_s)
