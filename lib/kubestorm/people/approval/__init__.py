"""Asking people before something is done: production rollouts, promotions, deletions that destroy
data.

`settings` reads the configuration; `record` is what an object carries of its approval; `deciding`
says what to do next and whether an answer counts, `proposal` what exactly will happen: these decide
and do nothing else. `observer` runs in the sensor and says when somebody has to be asked,
`subjects` reads and writes the objects, `messages` draws what people see, `steps` ties it together,
`gate` is for whoever has to wait.
"""
