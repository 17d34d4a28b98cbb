"""Processes that run pack code for the engine: how they are started, spoken with and stopped."""
