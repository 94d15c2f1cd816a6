"""Packages an application for AWS Lambda: ``contents``, their ``bytecode``, and the ``archive`` made of them."""
