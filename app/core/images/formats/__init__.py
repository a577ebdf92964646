"""The picture formats whose files Pillow alone does not read right, one a module."""
