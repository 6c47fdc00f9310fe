"""Learned source imaging: the methods, the energy that they lower, and weights on disk."""
