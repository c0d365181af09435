"""The engine of vLLM: requests in flight, refilled from chunk after chunk."""
