"""`python -m app.cli` is `evalq`."""

from app.cli.main import main

main()
