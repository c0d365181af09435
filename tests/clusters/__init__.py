"""Clusters of invented GPUs: what is planned for them over HTTP, and what waits for them."""
