"""What can be run: so far, evaluations."""
