"""Parrots."""
