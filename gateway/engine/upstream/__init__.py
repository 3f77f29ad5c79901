"""Models that another server runs: any server with the OpenAI chat completions API.

The token port of `engine.port` does not fit them: prompts, templates and tool formats are the
server's own, and it speaks messages and text. The package is the way there and back, HTTP and
JSON; what a turn is and who may ask is the session's.
"""
