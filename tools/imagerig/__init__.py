"""Builds and runs the container images without a container engine, for scripts/test_images."""
