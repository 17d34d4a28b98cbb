"""Push webhooks of git servers."""
