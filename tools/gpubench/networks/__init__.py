"""The networks with random weights, and the ways to make a picture with them."""
