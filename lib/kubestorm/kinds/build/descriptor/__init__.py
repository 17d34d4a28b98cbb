"""`default.json`, the build descriptor of a team: read, checked, and turned into an ImageBuild and
Applications.
"""
