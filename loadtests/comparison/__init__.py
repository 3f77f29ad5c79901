"""Comparing arms, live or simulated: what a run measured, its summary, cost and report.

Knows columns of requests and the scenario that sent them. Refuses to know how they were served.
"""
