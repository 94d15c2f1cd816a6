"""The cloud resources that an application needs, as data: the application declares them, and Terraform deploys them.

``build`` makes a ``model.Topology`` from an application; ``formats`` writes it for Terraform, IAM and people. Workers
and functions never import this package: ``app.topology()`` imports it when it is called.
"""
