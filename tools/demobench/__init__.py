"""Measures how well the demo model follows its control pictures and prompts."""
