"""Applications: what a developer asks for in few values, and the Kubernetes objects that it
becomes.
"""
