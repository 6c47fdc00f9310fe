"""EEG source imaging."""
