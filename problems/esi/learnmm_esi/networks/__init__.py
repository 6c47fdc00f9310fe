"""Learned source imaging: the methods of Table I, their training and their evaluation."""
