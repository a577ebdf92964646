"""The GPU kernels of the block graphs, generated and compiled on a machine without a card."""
