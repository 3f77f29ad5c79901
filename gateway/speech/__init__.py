"""Speech engines behind three ports: voice activity, recognition, synthesis.

Recognisers and voices run in processes of their own. Here is known which engine does it and what
it is good for; not who speaks, nor what is answered.
"""
