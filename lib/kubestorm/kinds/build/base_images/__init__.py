"""What images stand on, and which of them a new base image makes out of date."""
