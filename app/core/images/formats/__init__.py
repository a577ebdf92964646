"""Picture formats, one per module: decoding where Pillow alone is not correct."""
