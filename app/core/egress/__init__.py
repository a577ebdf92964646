"""Outgoing HTTP to addresses that a client named. The only package that loads httpcore."""
