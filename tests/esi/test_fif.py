"""Files of MNE-Python: whatever a reader says, the file is named."""

from __future__ import annotations

import pytest

from learnmm_esi.fif import reading


@pytest.mark.parametrize(
    "error", [KeyError("kind"), EOFError(), OverflowError("big"), OSError("x")]
)
def test_whatever_a_reader_says_names_the_file(error):
    message = r"a-fwd\.fif holds no forward solution that can be read"
    with pytest.raises(ValueError, match=message), reading("a-fwd.fif", "forward solution"):
        raise error


def test_a_missing_file_is_said_to_be_missing():
    with pytest.raises(FileNotFoundError), reading("a", "thing"):
        raise FileNotFoundError("a")
