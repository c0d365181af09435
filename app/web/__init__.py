"""What pages and endpoints share: callers, dependencies, problems, streams."""
