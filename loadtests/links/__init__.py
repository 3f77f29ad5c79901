"""Wide-area links on one Linux machine: a network namespace per site, packets that take their time.

Every packet of every protocol is delayed, so connection set-up and slow start cost what they cost
between real sites; a relay in an application would hide them. Two back ends stand behind one
matrix of links: netem where the kernel has it, else TUN devices and one forwarder.
"""
