"""The runtimes that a provider calls: they take an event or a request and return the provider's answer."""
