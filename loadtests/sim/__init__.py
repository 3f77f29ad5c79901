"""Many sites in virtual time, deciding with the shipped code.

Of the gateway it knows only `core`: admission, scheduling and whatever decides there run here as
they run live. Networks, accelerators and clients are models. It refuses to know a wall clock: the
same scenario and seed give the same result to the last bit.
"""
