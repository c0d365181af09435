"""Runs in a backend's own environment: loads one model and answers chunks until its supervisor is gone."""
