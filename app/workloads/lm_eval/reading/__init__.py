"""What was posted, read into a job, or every fault of it."""
