"""What can go wrong in an export, as one clear line."""

from __future__ import annotations


class ExportError(Exception):
    """A mistake of the input or of the machine; its message is all that a user has to read."""
