"""The pools in which a worker runs tasks: processes, threads, the worker's event loop, or a single thread."""
