"""Where triggers come from: watches of Kubernetes, registries and git servers that call or are
asked, and the HTTP listener for those that call.
"""
