"""One replica: claim it, start its engine child, feed it chunks, store the answers, release it."""
