"""An application of the project without models."""
