"""The kind ImageBuild: images built from the commits of a git repository."""
