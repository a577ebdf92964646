"""What the server says about itself: numbers (counters, snapshot), log lines, spans."""
