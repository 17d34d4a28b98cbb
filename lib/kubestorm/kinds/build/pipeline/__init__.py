"""Deliveries: build, test, push, rollout and post-deploy test as one run."""
