"""The parts of the bench. Each part is one process that writes its rows into the results file."""
