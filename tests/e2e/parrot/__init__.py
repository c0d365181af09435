"""A made-up backend: three files, of which `test_new_backend` makes a backend of a copy of the source."""
