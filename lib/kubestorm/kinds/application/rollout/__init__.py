"""From a digest to running pods, or safely back: one Rollout object for each attempt."""
