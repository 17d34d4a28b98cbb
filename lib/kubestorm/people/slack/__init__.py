"""Slack without a bot between: what it sends, checked and understood; what it is told, through its
Web API.

`settings` reads the configuration, `credentials` the files and Vault paths it names; `requests`
turns what Slack sends into values, `inbox` recognises what was sent before; `web` is the Web API,
`blocks` what messages look like, `posting` announcements; `listening` ties the listener or Socket
Mode to triggers. slack_sdk does the protocol.
"""
