"""What is measured, as commands; the last results are in docs/performance.md."""
