"""Alembic migrations; `evalq migrate` runs them."""
