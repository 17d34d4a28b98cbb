"""Drift: what Databases ask for against what RDS, Vault and Consul have, in both directions.

`values` are the facts and the findings, `compare` decides and does nothing else, `observe` asks the
services, `report` says it to people and rules, `poller` remembers what was told. Nothing here
changes anything, and no finding holds a secret: of Vault only paths and versions are read, of
Consul only the keys that the pack publishes are kept.
"""
