"""Linear maps of unknowns."""
