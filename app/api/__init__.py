"""HTTP: bodies in, bodies out, errors as problems; decides nothing."""
