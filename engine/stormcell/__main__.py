"""`python -m stormcell` is the command `stormcell`."""

from stormcell.cli import main

main(prog_name="stormcell")
