"""A scenario with real sites on emulated links, in real time, beside what the simulator says of it.

Sites are the processes that an operator starts, with emulated accelerators; clients are processes
of their own, and every packet between them takes as long as the scenario says. Arms run one after
the other, there and back again, so that what drifts on the host meets all of them alike.
"""
