"""What scripts/test_images is made of: images built and run without a container engine."""
