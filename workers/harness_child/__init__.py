"""The harness child: lm-eval without a GPU, a torch or a database."""
