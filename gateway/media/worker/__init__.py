"""The voice worker: one process, one UDP port, all of its calls on one thread."""
