"""Local AWS stacks and emulators of other services, each in its own process.

The tests, the demo, the benchmarks and ``make localstack`` use them. This package is part of the repository and of
the source archive, but not of the wheel.
"""
