"""Text of files: what is printed is obeyed by no terminal, what is drawn is no formula."""

from __future__ import annotations

import os
import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from learnmm_esi.cli.text import drawable, printable


@given(st.text(st.characters(codec=None)))
def test_no_terminal_obeys_what_was_printable(text):
    shown = printable(text)
    shown.encode("utf-8")  # half of a surrogate pair, a path's byte, has no encoding
    assert not [c for c in shown if unicodedata.category(c) == "Cc" and c not in "\n\t"]
    assert not set(shown) & set("\u202e\u2066")
    assert printable(shown) == shown


def test_plain_text_is_left_alone():
    assert printable("naïve µV, 左手\nnext") == "naïve µV, 左手\nnext"
    assert printable("red \x1b[31m\x9b") == r"red \x1b[31m\x9b"
    assert printable(os.fsdecode(b"caf\xe9")) == r"caf\udce9"


def test_a_dollar_begins_no_formula():
    assert drawable("a $\\foo$ \x07") == r"a \$\foo\$ \x07"
