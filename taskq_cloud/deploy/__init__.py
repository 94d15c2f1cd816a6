"""Deployment: what an application needs, checking what is there, its cost, and the archives of its functions."""
