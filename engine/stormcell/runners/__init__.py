"""The runners: each carries out one kind of action."""
