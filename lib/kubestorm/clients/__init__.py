"""One thin client for each service that the pack talks to, over its official library.

Takes and gives values of its own; knows no kind of resource.
"""
