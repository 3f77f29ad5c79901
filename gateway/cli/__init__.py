"""The `firsthop` command: arguments in, text and an exit code out.

Each command is a module with `register(subparsers)` and `run(args) -> int`, imported only when it
is the one that runs. Exit codes: 0 done, 1 failed, 2 wrong usage.
"""
