"""Random calls of the kernels and of the public functions; see `__main__.py`."""
