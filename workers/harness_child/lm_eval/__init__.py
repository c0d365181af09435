"""lm-eval as the harness: prepares the prompts, asks for answers, scores them."""
