"""The engine of transformers models."""
