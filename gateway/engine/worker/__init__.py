"""The engine process: one model on one accelerator.

One thread reads the socket, plans, runs the model, samples and writes; there are no locks. The
process ends when the site closes its end of the socket. It knows token ids, never text, and
nothing of sites, keys or turns.
"""
