"""vLLM on machines without a GPU."""
