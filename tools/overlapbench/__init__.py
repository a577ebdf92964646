"""How busy the gpu worker is kept under a full queue."""
