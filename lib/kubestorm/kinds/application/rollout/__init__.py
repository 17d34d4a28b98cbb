"""Rollouts: from a digest to running pods, or back; one Rollout object per attempt."""
