"""The steps of the pipeline that take a module of their own."""
