"""Energies without a network, and the classical inverses."""
