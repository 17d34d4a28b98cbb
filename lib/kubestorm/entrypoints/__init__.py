"""Where a process of the pack begins: its actions, its three sensors, its commands. Each wires the
storeys below together and decides nothing.
"""
