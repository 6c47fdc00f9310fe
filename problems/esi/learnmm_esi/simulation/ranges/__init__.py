"""Recordings over ranges: any cap, any head, several patches, every kind of course and noise."""
