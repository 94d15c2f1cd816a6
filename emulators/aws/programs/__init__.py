"""What runs in a stack's own process, each as a script in the stack's interpreter: it imports its neighbours alone."""
