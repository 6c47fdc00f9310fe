"""Objectives that know their majorants."""
