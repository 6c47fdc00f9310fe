"""Training and evaluation of learned methods."""
