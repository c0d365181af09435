"""What is computed for screens: pure functions from values of the services to what templates place."""
