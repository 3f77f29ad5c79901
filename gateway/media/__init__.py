"""A call's media: ICE, DTLS, RTP, Opus, jitter, voice activity, pacing.

`client` is what the site process holds of it: lines that sound comes from and goes to. `worker` is
the voice worker, a process with one UDP port and all of its calls; it knows sound and packets, and
refuses to know what is said.
"""
