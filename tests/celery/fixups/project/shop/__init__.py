"""An application of the project, with a model."""
