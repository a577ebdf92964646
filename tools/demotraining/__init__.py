"""The training of the demo checkpoint, on generated pictures. The product never imports it."""
