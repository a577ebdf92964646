"""What is measured: time, memory, host syncs, accuracy, compilation, the machine itself."""
