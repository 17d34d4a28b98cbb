"""The Database journey: what a resource asks for (spec), what is to be done (plan, deletion), and
doing it (steps).
"""
