"""The benchmark `scripts/bench overlap`: the load of the gpu worker under a full queue."""
