"""Every failure of a vLLM engine that a machine without a GPU can provoke, and what its job is told of it."""
