"""What a test of a taskq_cloud application, or of a new adapter, needs."""
