"""What evalq does: one transaction per public method; committed first, told to others second."""
