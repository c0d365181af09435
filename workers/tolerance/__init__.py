"""Measures how far fast scoring is from stock, with a backend's own engine on devices of this host."""
