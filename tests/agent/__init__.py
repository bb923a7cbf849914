"""Parts of the agent's harness; run.py runs them."""
