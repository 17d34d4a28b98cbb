"""A small client of any Kubernetes API, for the sandbox's controllers and pretend kubelet.

They know nothing of the sandbox's API server but its address, so that each can be tried on a real
one.
"""
