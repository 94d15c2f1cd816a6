"""The execution of one delivery: the pipeline, what it works with, the runner of task functions, and retries."""
