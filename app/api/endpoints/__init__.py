"""One module for each group of URLs that clients call."""
