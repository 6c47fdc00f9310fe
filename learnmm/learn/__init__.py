"""Solvers that learn."""
