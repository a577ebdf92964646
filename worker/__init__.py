"""The RQ side: the job functions, one per file, and the worker processes that run them."""
