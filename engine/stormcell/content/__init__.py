"""Pack content: what the YAML files of a pack say, checked, as values."""
