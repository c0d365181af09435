"""Jobs as they are posted, to the API or from a page: how they are written, their shape, and checked and stored."""
