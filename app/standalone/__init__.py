"""`up`: Redis, the api and the workers of one machine, started and supervised together."""
