"""EEG outside what was trained on, in tables: ``python -m benchmarks.eeg_outside``."""
