"""A request body -> fields and pictures. Judges no value."""
