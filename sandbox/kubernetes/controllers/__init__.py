"""Small controllers that make workloads of a Kubernetes API behave, as clients of it."""

from sandbox.kubernetes.controllers.manager import Controllers

__all__ = ["Controllers"]
