"""Firsthop: the edge gateway of an AI grid."""

__version__ = "0.1.0"
