"""Scripts that run as a stack's process, in the stack's interpreter. They import only modules of this folder."""
