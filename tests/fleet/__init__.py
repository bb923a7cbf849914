"""Cases of the fleet's harness; run.py runs them."""
