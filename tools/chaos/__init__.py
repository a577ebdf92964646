"""What `scripts/chaos` is made of: a stack of real processes, clients, faults, and a verdict."""
