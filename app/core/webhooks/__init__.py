"""Webhook messages, their signatures and their deliveries."""
