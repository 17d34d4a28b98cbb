"""What every kind does alike around its own decisions."""
