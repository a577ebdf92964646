"""Measures whether the demo obeys its control pictures and its prompts."""
