"""Servers that echo a caller's speech and judge voice activity: ours and two that others use.

Each is a process of an interpreter that has its framework; `offers` is how it is driven.
"""
