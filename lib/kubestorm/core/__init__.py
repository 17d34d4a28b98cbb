"""Values and rules that everything above shares: errors, names, times, conditions, settings.

Imports no client and reads nothing but its arguments.
"""
