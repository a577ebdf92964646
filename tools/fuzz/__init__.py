"""Random and hostile input for the parsers of untrusted input."""
