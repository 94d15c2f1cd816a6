"""Deployment of an application: its topology, checks of a deployment, cost estimates, and packages for Lambda."""
