"""What the room takes and gives.

Request parameters: priority_level, as everywhere; min_speakers and max_speakers, of the whole conversation, those that
are known among them; known: true where PCM is somebody's reference; spans_are_turns: true where each of SPANS is a turn
of its own, as found by somebody else.
"""

from .declaration import Tensor

INPUTS = (
    # The next stretch of a conversation, or somebody's reference. Needed; optional for Triton, so that the room itself
    # answers where a client left it out.
    Tensor("PCM", "TYPE_FP32", (-1,), optional=True),
    # [N, 2] samples of PCM in which something is said, in order: words, where their times are known. Between two of
    # them somebody else may begin to speak.
    Tensor("SPANS", "TYPE_INT32", (-1, 2), optional=True),
    # Without SPANS: vad's probabilities of PCM, of which the room makes spans. Without both PCM is one span.
    Tensor("SPEECH_PROB", "TYPE_FP32", (-1,), optional=True),
    # What the conversation's previous call returned; without it a conversation begins.
    Tensor("STATE", "TYPE_UINT8", (-1,), optional=True),
)
OUTPUTS = (
    # [T, 2] the turns of this stretch: samples of PCM, in order.
    Tensor("TURNS", "TYPE_INT32", (-1, 2)),
    # [N] number of the turn in the conversation that each span is in, from 0 on; of a reference, none.
    Tensor("TURN_OF_SPAN", "TYPE_INT32", (-1,)),
    # [M, 2] number of a turn, and who speaks in it as far as is known by now: of the newest turns, which may have
    # changed since the last answer. Known speakers are 0 to K - 1 in the order of their references; the others follow
    # as they appeared.
    Tensor("SPEAKERS", "TYPE_INT32", (-1, 2)),
    # To send with the next stretch. It holds voices: keep it no longer than the conversation.
    Tensor("STATE", "TYPE_UINT8", (-1,)),
)
