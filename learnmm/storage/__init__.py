"""Weights on disk: safetensors files that carry the configuration they belong to.

Nothing is ever unpickled, and nothing is changed before everything has been checked.
"""

from learnmm.storage.configuration import as_json, differences, listed, parse_json, short, shown
from learnmm.storage.files import remove_leftovers, replacing, write_file
from learnmm.storage.pretrained import Pretrained, load_pretrained
from learnmm.storage.tensors import open_tensors, read_tensors, write_tensors
from learnmm.storage.weights import (
    HEADER,
    WEIGHTS,
    check_fit,
    fill,
    load_notes,
    load_weights,
    module_layout,
    not_finite,
    peek_weights,
    save_weights,
    state_tensors,
    write_weights,
)

__all__ = [
    "HEADER",
    "WEIGHTS",
    "Pretrained",
    "as_json",
    "check_fit",
    "differences",
    "fill",
    "listed",
    "load_notes",
    "load_pretrained",
    "load_weights",
    "module_layout",
    "not_finite",
    "open_tensors",
    "parse_json",
    "peek_weights",
    "read_tensors",
    "remove_leftovers",
    "replacing",
    "save_weights",
    "short",
    "shown",
    "state_tensors",
    "write_file",
    "write_tensors",
    "write_weights",
]
