"""Functions that adapt an application to a framework when it is made."""
