"""Sensors: a process of its own for each, watched over."""
