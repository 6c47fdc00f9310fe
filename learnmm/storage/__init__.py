"""Weights on disk: safetensors files that carry the configuration they belong to.

Nothing is ever unpickled, and nothing is changed before everything has been checked.
"""

from learnmm.storage.files import remove_leftovers, replacing, write_file
from learnmm.storage.weights import (
    HEADER,
    WEIGHTS,
    as_json,
    check_fit,
    differences,
    load_notes,
    load_weights,
    not_finite,
    read_tensors,
    save_weights,
    state_tensors,
    write_tensors,
    write_weights,
)

__all__ = [
    "HEADER",
    "WEIGHTS",
    "as_json",
    "check_fit",
    "differences",
    "load_notes",
    "load_weights",
    "not_finite",
    "read_tensors",
    "remove_leftovers",
    "replacing",
    "save_weights",
    "state_tensors",
    "write_file",
    "write_tensors",
    "write_weights",
]
