"""A registry's API: tags, digests and manifests, read only."""
