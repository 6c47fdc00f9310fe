"""Text that came from a file, made safe to print and to draw."""

from __future__ import annotations

import unicodedata

__all__ = ["drawable", "printable"]

# They turn the order of what follows around, so that a line reads as another.
_TURNS = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"


def printable(text: object) -> str:
    r"""Return a text with all that a terminal would obey or cannot show written out, as ``\x1b``.

    Those are control characters but for new lines and tabs, marks that change the direction of
    writing, and the bytes of a path that are no UTF-8.

    Parameters
    ----------
    text : object
        ``str`` of it is taken.

    Examples
    --------
    >>> printable("red \x1b[31m")
    'red \\x1b[31m'
    """
    return "".join(
        character
        if character in "\n\t"
        or (unicodedata.category(character) not in ("Cc", "Cs") and character not in _TURNS)
        else character.encode("unicode_escape").decode("ascii")
        for character in str(text)
    )


def drawable(text: object) -> str:
    r"""Return a printable text that matplotlib draws as it stands: ``$`` begins no formula."""
    return printable(text).replace("$", r"\$")
