"""Real TLS clients: how often each resumes on stock and on ours. run.py says how to run them."""
