"""A pasted command as fields of a job, and a job as the command."""
