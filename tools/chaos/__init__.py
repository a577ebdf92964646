"""The fault injection of `scripts/chaos`: a stack of real processes, clients, faults, a verdict."""
