"""Our steps beside those of other libraries: ``python -m benchmarks.peers``, or ``make bench``."""
