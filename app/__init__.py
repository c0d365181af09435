"""What all processes share, and the HTTP API."""
