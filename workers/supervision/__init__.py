"""How a worker starts, watches and ends the processes that compute."""
