"""The index of lm-eval's tasks and of a user's own."""
