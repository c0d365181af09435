"""lm-eval's key=value syntax, and kinds of values."""
