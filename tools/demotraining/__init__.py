"""Trains the demo checkpoint on pictures that are generated here; the product never imports it."""
