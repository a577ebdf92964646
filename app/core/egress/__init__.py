"""Outgoing HTTP to addresses that clients choose. The only package that imports httpcore."""
