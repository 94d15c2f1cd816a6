"""Where tasks run inside a worker: threads, processes, the event loop, or the worker itself."""
