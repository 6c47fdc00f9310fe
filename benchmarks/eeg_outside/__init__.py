"""EEG outside what was trained on: caps, patches, noise, heads; ``python -m benchmarks.eeg_outside``."""
