"""Majorants for any callable."""
