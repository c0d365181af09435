"""What keeps a child from its host: bounds on what it holds, and an empty folder to run in."""
