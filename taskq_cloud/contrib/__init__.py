"""Parts for applications of certain kinds, each with an extra of its own; nothing else in the package imports them."""
