"""This host: folders that hold builds under way, and the programs that run in them."""
