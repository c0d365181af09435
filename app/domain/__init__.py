"""What evalq decides: pure rules, standard library only."""
