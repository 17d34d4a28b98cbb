"""From a commit to its post-deploy test as one run: each stage looked at, recorded and told."""
