"""Servers of the servers harness; run.py runs them."""
