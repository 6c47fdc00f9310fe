"""EEG beside the solvers of invertmeeg: ``python -m benchmarks.eeg_invertmeeg``."""
