"""Outbound links to other sites: what they say of themselves, and turns handed to them."""
