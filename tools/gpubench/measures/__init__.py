"""What is measured: seconds, memory, host syncs, accuracy, compilation, the machine's own limits."""
