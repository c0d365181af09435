"""The dashboard in a real browser: one Chromium and one service for all of it."""
