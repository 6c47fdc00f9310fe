"""Simulated recordings with their true sources."""
