"""Decides, never does.

Every decision of the gateway is a plain function or a small state machine in this room. Time and
chance come in as arguments, reasons go out as data. Nothing here awaits, reads a clock, opens a
file or touches an array, so the same code runs in production, in the simulator and in a property
test.
"""
