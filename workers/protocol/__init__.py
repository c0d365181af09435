"""What the sockets between a supervisor and its child carry."""
