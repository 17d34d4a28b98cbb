"""Commands from a chat: who asks, what is meant, whether it may be, what is answered.

The order of reading: `commands` (what can be said) over `phrases` (how a phrase becomes an
expression), `reading` (a text to a command), `people` and `permissions` (who may), `targets` (which
object is meant), `running` (the pack's action), `telling` and `formatting` (the answer), and
`answering`, which puts them together. All but `running` and `answering` are pure.
"""
