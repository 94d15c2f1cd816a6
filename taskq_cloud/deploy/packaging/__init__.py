"""Packages an application for Lambda: collects its ``contents``, compiles ``bytecode``, and writes an ``archive``."""
