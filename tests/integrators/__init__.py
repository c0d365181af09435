"""A running service as those meet it who build on it: generated clients, and the lines of the documents."""
