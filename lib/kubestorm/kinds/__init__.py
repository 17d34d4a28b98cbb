"""What the pack does for each kind of resource. The rooms have the same names in every kind: spec,
observe, plan, act, status, commands.
"""
