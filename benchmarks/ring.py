"""What it takes to put a pair into the memory of `LimitedMemory`, beside a copy of one vector.

``python -m benchmarks.ring`` prints the table and writes ``benchmarks/results/ring.md``. The tasks
take turns, in one process; ratios are medians of those within a turn.
"""

from __future__ import annotations

import torch

import learnmm as lmm
from benchmarks.pages import arguments, line, made_by, table, write
from benchmarks.timing import paired_times, ratio
from learnmm.proposers.limited_memory import extend, put, two_loops

SEED = 3
SIZES = (10_000, 100_000, 1_000_000)
HISTORY, REPEATS = 10, 41


def row(unknowns: int) -> str:
    """Ratios for so many unknowns, float32."""
    generator = torch.Generator().manual_seed(SEED)
    x, gradient, move = torch.randn(3, 1, unknowns, generator=generator)
    change = move + 0.1 * gradient
    pairs = lmm.LimitedMemory(HISTORY).init_memory(x)
    for _ in range(HISTORY + 1):
        pairs = extend(pairs, x, gradient, move, change)
    place, useful = (torch.tensor([0]), torch.tensor([3])), torch.tensor([True])
    copy = torch.empty_like(x)

    def append() -> None:
        put(pairs.moves, place, move, useful)
        put(pairs.changes, place, change, useful)

    times = paired_times(
        lambda: copy.copy_(x),
        append,
        lambda: extend(pairs, x, gradient, move, change),
        lambda: two_loops(pairs, gradient, lambda v: v),
        repeats=REPEATS,
    )
    cells = [f"{ratio(each, times[0]):.1f}" for each in times[1:]]
    return line([f"{unknowns:,}", f"{1e3 * sorted(times[0])[REPEATS // 2]:.3g}", *cells])


@torch.no_grad()
def main() -> None:
    """Print the table and write it down."""
    settings = arguments("ring", __doc__).parse_args()
    torch.set_num_threads(1)
    head = ["unknowns", "copy of a vector, ms", "both vectors of a pair put in their place"]
    head += ["the pair judged and put", f"step of {HISTORY} pairs"]
    write(
        [
            "# A pair of limited memory",
            "",
            f"{made_by('ring', SEED)}, float32, {HISTORY} pairs; all but the second column are "
            "multiples of it.",
            "",
            *table(head, [row(unknowns) for unknowns in SIZES]),
            "A pair is judged by its products with the others: each is read once. Where a pair is "
            "put, nothing is copied: the goal is at most three times a copy of one vector. What a "
            "copy costs is a matter of caches, where the smaller vectors still are.",
            "",
        ],
        settings.output,
    )


if __name__ == "__main__":
    main()
