"""The rules of placement and of the line in virtual time, on invented days, beside what else people use."""
