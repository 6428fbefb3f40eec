"""What a language model may be asked to do with a text: files of the server, which clients choose by name."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from frontend.wording.headed import NAME, Headed, headed_files

SHIPPED = Path(__file__).with_name("roles")
REWRITES, TELLS = "rewrites", "tells"
KEPT, MENDED = "kept", "mended"
# The role of a request that names none.
USUAL = "punctuation"
MOST_INSTRUCTION = 8_000
MOST_CHANGED = 0.3


@dataclass(frozen=True)
class Role:
    """kind: `rewrites`, its answer stands for the text unless more than the share most_changed of its words or letters
    is another, or it keeps_words and any is but for case and marks; or `tells`, its answer is about a whole text and
    stands beside it. about: what it does, in a few words."""

    name: str
    kind: str
    instruction: str
    most_changed: float = MOST_CHANGED
    about: str = ""
    keeps_words: bool = False

    @property
    def rewrites(self) -> bool:
        return self.kind == REWRITES


def roles(folder: Path | None = None) -> dict[str, Role]:
    """All roles, by name. folder: a team's own, which stand for shipped ones of the same name. Raises FilesWrong."""
    files = {one.name: one for place in (SHIPPED, folder) if place for one in headed_files(place)}
    return {name: _role(file) for name, file in sorted(files.items())}


def _role(file: Headed) -> Role:
    if not NAME.fullmatch(file.name):
        raise file.wrong("a role's name has 1 to 64 small letters, digits, _ and -")
    kind = file.head.get("kind", "")
    if kind not in (REWRITES, TELLS):
        raise file.wrong(f"it begins with kind: {REWRITES} or {TELLS}")
    unknown = sorted(set(file.head) - {"kind", "most_changed", "words", "about"})
    if unknown:
        raise file.wrong(f"a role has no {unknown[0]}")
    if not file.body or len(file.body) > MOST_INSTRUCTION:
        raise file.wrong(f"its instruction has 1 to {MOST_INSTRUCTION} characters")
    try:
        most_changed = float(file.head.get("most_changed", MOST_CHANGED))
    except ValueError:
        most_changed = -1.0
    if not 0 < most_changed <= 1:
        raise file.wrong("most_changed is a share, above 0 and 1 at most")
    words = file.head.get("words", MENDED)
    if words not in (KEPT, MENDED):
        raise file.wrong(f"words is {KEPT} or {MENDED}")
    return Role(file.name, kind, file.body, most_changed, file.head.get("about", ""), words == KEPT)
