"""A stand-in for Slack: its Web API, Socket Mode, signed requests, and people who type and click."""

from sandbox.slack.server import Delivery, Post, SlackServer

__all__ = ["Delivery", "Post", "SlackServer"]
