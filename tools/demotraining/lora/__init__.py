"""Trains the demo's LoRA, a style that one sees and measures, and writes its file."""
