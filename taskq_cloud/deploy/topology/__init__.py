"""What an application needs of a cloud, as data: declared by the application, deployed by others.

``build`` makes a ``model.Topology`` of an application; ``formats`` writes it for Terraform, IAM and people. Nothing
here is imported before ``app.topology()`` is called: no runtime needs it.
"""
