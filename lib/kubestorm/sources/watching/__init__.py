"""Watching Kubernetes resources: detecting changes, storing what was dispatched, requeueing.

`settings` reads the configuration; `fingerprint`, `object_record`, `change_detection`,
`wait_state`, `work_queue`, `backoff` and `owned_state` are pure; `watch_state` stores records in a
datastore; `list_watch` is the list-watch loop, `watch` the watch of a trigger's resources and
`owned_watch` that of owned objects; `rds_poller` polls RDS; `watch_manager` starts watches as rules
ask for them; `api` is the Kubernetes side. `sensors/resources_sensor.py` is all that knows
StackStorm.
"""
