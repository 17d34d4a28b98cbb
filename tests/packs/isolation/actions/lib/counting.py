"""A module of the pack with state of its own."""

runs = 0


def count():
    global runs
    runs += 1
    return runs
