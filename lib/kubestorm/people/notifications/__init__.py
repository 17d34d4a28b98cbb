"""Telling a team's channel what happened: rollouts, builds, databases, drift.

`settings` reads the configuration; `news` says what of an object is worth telling, `outbox` what is
posted now, what is held back and what is summarised, `channels` where: these decide and do nothing
else. `observer` runs in the sensor, keeps what is held back in memory and dispatches
`kubestorm.news`; `posting` is the port to chat (Slack, or the engine's ChatOps), `steps` is what
the action does, `told` what it remembers.
"""
