"""What an evaluation by lm-eval can be: its fields, its command, its tasks."""
