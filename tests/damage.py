"""Safetensors files as chance damages them, and as somebody with intent writes them."""

from __future__ import annotations

import hashlib
import json
import random
import resource
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

JUNK: list[Any] = [None, True, 0, -5, 2**70, 1e300, "", "no", "\ud800", [], [1], {}, {"a": {}}]


def split(content: bytes) -> tuple[dict[str, Any], bytes]:
    """Cut a safetensors file into its header and the bytes of its tensors."""
    size = struct.unpack("<Q", content[:8])[0]
    return json.loads(content[8 : 8 + size]), content[8 + size :]


def joined(header: dict[str, Any] | str, data: bytes) -> bytes:
    text = (header if isinstance(header, str) else json.dumps(header)).encode()
    return struct.pack("<Q", len(text)) + text + data


def variants(content: bytes, count: int, seed: int) -> Iterator[bytes]:
    """Flip bits of header and data, cut, lengthen, overwrite, repeat."""
    rng = random.Random(seed)
    header = 8 + struct.unpack("<Q", content[:8])[0]
    for _ in range(count):
        damaged = bytearray(content)
        kind = rng.choice(["header", "header", "header", "data", "cut", "more", "zero", "repeat"])
        if kind in ("header", "data"):
            first, last = (0, header) if kind == "header" else (header, len(content))
            for _ in range(rng.choice([1, 1, 1, 2, 3])):
                damaged[rng.randrange(first, last)] ^= 1 << rng.randrange(8)
        elif kind == "cut":
            del damaged[rng.randrange(len(content)) :]
        elif kind == "more":
            damaged += rng.randbytes(rng.randrange(1, 40))
        else:
            at = rng.randrange(header)
            length = rng.randrange(1, 30)
            fresh = bytes(length) if kind == "zero" else damaged[at : at + length] * 2
            damaged[at : at + length] = fresh
        yield bytes(damaged)


def crafted(content: bytes) -> Iterator[bytes]:
    """Files that parse and lie: types, sizes, depths, names."""
    whole, data = split(content)
    ours = json.loads(whole["__metadata__"]["learnmm"])

    def rewritten(text: Any) -> bytes:
        return joined({**whole, "__metadata__": {"learnmm": text}}, data)

    for name in ours:
        yield rewritten(json.dumps({key: ours[key] for key in ours if key != name}))
        for junk in JUNK:
            yield rewritten(json.dumps({**ours, name: junk}))
            yield hashed(whole, {**ours, name: junk}, data)
    text = json.dumps(ours)
    for depth in (70, 900, 5_000, 200_000):
        for left, right in (("[", "]"), ('{"a":', "}")):
            deep = left * depth + "1" + right * depth
            yield rewritten(deep)
            yield rewritten(text[:-1] + f', "notes": {{"a": {deep}}}}}')
            yield rewritten(text.replace('"config": {', f'"config": {{"deep": {deep}, ', 1))
    yield rewritten(text[:-1] + ', "format": "learnmm weights"}')
    yield rewritten(text.replace("{", '{"a": 1e999, ', 1))
    yield rewritten(text.replace("{", '{"a": NaN, ', 1))
    yield rewritten(text.replace("{", '{"a": ' + "9" * 5000 + ", ", 1))
    for junk in (5, None, ["x"]):
        yield rewritten(junk)
        yield joined({**whole, "__metadata__": junk}, data)
    names = [name for name in whole if name != "__metadata__"]
    for shape in ([10**12], [2**40, 2**40], [0, 2**62, 4], [-1], ["a"], [2**64], [[1]], None):
        entry = {"dtype": "F32", "shape": shape, "data_offsets": [0, 0]}
        yield joined({**whole, "huge": entry}, data)
        yield joined({**whole, names[0]: {**whole[names[0]], "shape": shape}}, data)
    for dtype in ("F64", "F8_E4M3", "C64", "U16", "F4", "XX", 5):
        entry = {"dtype": dtype, "shape": [0], "data_offsets": [0, 0]}
        yield joined({**whole, "other": entry}, data)
        yield joined({**whole, names[0]: {**whole[names[0]], "dtype": dtype}}, data)
    for offsets in ([0, 10**15], [-1, 4], [4, 0], [2**63, 2**63 + 8], None):
        yield joined({**whole, names[0]: {**whole[names[0]], "data_offsets": offsets}}, data)
    yield joined("[" * 100_000, data)
    yield joined(json.dumps(whole)[:-1] + f', "{names[0]}": {json.dumps(whole[names[1]])}}}', data)
    yield struct.pack("<Q", 2**63) + b"{}"
    yield joined({f"x{i}\x1b[31m": whole[names[0]] for i in range(2_000)}, data)


def hashed(whole: dict[str, Any], ours: dict[str, Any], data: bytes) -> bytes:
    """Rebuild a file with a hash that is right, as somebody with intent would."""
    header = {name: value for name, value in ours.items() if name != "sha256"}
    digest = hashlib.sha256(json.dumps(header, sort_keys=True).encode())
    kinds = {"F64": "float64", "F32": "float32", "F16": "float16", "I64": "int64", "BOOL": "bool"}
    for name in sorted(n for n in whole if n != "__metadata__"):
        about = whole[name]
        begin, end = about["data_offsets"]
        dtype = f"torch.{kinds[about['dtype']]}"
        digest.update(json.dumps([name, dtype, about["shape"]]).encode() + data[begin:end])
    text = json.dumps({**header, "sha256": digest.hexdigest()})
    return joined({**whole, "__metadata__": {"learnmm": text}}, data)


@contextmanager
def refusal() -> Iterator[list[str]]:
    """Catch the promised error, which holds nothing that a terminal obeys, and no other."""
    messages: list[str] = []
    try:
        yield messages
    except ValueError as error:
        if type(error) is not ValueError:  # UnicodeDecodeError is one, too
            raise
        messages.append(str(error))
    assert all(message.isprintable() and len(message) < 6000 for message in messages)


def within(megabytes: int) -> None:
    """Let this process have so much more memory than it has."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + megabytes * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
