"""Helpers that packs import."""
