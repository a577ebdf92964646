"""Jobs, their order, the workers that take them, and how long they take."""
