"""Expressions that authors of packs write: Jinja in rules, chains and parameters, YAQL in
workflows.

Pure: what an expression may read beyond its context comes through the `Lookups` port of
`stormcell.conducting`.
"""
