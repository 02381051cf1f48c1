"""What is said about a mistake in a profile."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class ProfileError(ValueError):
    """A profile that cannot be used. The message names the file, its line, the key and what to write instead."""


def nearest(word: str, words: Iterable[str]) -> str:
    """The end of a message about an unknown word: the one that was meant, or all that there are."""
    known = sorted(words)
    if not known:
        return "; there is none at all"
    near = difflib.get_close_matches(word, known, 1)
    return f"; did you mean {near[0]!r}?" if near else f"; there are: {', '.join(known)}"
