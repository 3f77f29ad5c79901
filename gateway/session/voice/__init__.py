"""The ears and the mouth of a call: when its caller has said something, and what was played to it.

Knows the line, the speech engines and turn-taking. Refuses to know what a conversation is, and how
any client is told: whoever runs one reads `events` and speaks through a `Speaker`.
"""
