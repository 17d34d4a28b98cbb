"""Applications: a short spec, and the Kubernetes objects that it becomes."""
