"""What an operator writes: a site's configuration and its keys, read whole and checked at once.

Knows files, environment variables and where every value came from; knows nothing of how the
values are used. Only the standard library and msgspec.
"""
