"""Rebuilds images when their base images change."""
