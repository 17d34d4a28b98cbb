"""Watching Kubernetes resources: what changed, what was known, when to look again.

`settings` reads the configuration; `fingerprint`, `records`, `judging`, `schedule` and `failures`
decide and do nothing else; `knowledge` keeps what was known in a datastore; `watch` runs one
list-and-watch; `hub` turns the triggers that rules ask for into watches; `api` is the Kubernetes
side. The sensor in `sensors/resources_sensor.py` is all that knows StackStorm.
"""
