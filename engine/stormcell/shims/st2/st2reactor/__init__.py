"""Stands in for StackStorm's st2reactor where that is not installed: the base classes of sensors."""
