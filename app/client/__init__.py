"""The API as Python calls it: calls, events over lost connections, exit codes."""
