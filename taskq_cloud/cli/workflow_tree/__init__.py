"""The tree of a workflow, as ``taskq result --tree`` draws it: the lines of the drawing, and a module per format."""
