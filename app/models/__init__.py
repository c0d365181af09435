"""What a model's files say: its folder, its memory, its names on the Hub."""
