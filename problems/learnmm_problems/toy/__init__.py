"""Small problems with known facts."""
