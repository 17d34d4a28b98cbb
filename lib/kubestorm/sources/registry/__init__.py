"""Image registries: what they push to us, what we ask them, and which of their tags an Application
follows.
"""
