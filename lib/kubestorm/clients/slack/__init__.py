"""Slack's Web API, its settings and its credentials."""
