"""Calling tasks and workflows: the options of a call, the messages it makes, and running in place."""
