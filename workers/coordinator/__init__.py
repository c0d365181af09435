"""One job: claim it, start its harness child, relay requests and responses, finish it."""
