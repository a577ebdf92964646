"""Memory of a card and of its host: what a model needs, and which plan fits. Torch-free."""
