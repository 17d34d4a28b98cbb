"""Telling a team's channel what happened: rollouts, builds, databases, drift.

`settings` reads the configuration; `news` says what of an object is worth telling, `outbox` what is
said now, what waits and what is summarised, `channels` where: all three decide and do nothing else.
`keep` holds what waits in the engine's datastore, `waiting` says when to look there again,
`posting` is the port to chat (Slack is one way, the engine's ChatOps route the other), `steps` ties
it together.
"""
