"""Servers of other systems as data: their URLs, the services that calls need, and the errors of a server."""
