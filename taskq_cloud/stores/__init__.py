"""Adapters that store results, large payloads and schedules: one package for each port, one module for each service."""
