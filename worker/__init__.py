"""The RQ side: three job functions, one a file, and the processes that run them."""
