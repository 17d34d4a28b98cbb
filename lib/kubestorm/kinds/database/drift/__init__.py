"""Drift: the specs of Databases against what RDS, Vault and Consul have, in both directions.

`observe` reads the services, `compare` is pure, `report` words the findings, `poller` remembers
which were reported, `values` are what they pass on. Nothing here changes anything, and no finding
holds a secret: of Vault only paths and versions are read, of Consul only the keys that the pack
publishes.
"""
