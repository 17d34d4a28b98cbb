"""Words that packs import."""
