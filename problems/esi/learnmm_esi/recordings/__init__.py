"""Recordings as MNE-Python reads them: matched with a head model, and reconstructed."""
