"""Open-loop clients: requests leave when they are due, whatever became of those before.

Each client is a process of its own. Latency runs from the intended instant of sending, so a stall
of the server counts against everything that was due during it (coordinated omission is what one
gets by waiting for the answer before counting on). How late the client itself was is reported
beside it, because a client that cannot keep up measures itself.
"""
