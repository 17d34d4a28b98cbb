"""Only what packs use as plain values."""
