"""The `evalq` command: one file per group of verbs, each imported when its verb is used."""
