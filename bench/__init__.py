"""Speed, measured as ratios within one run. `python -m bench` runs all and writes results.md."""
