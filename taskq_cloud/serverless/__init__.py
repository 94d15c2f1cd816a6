"""Runtimes that a provider drives: an event in, the provider's answer out."""
