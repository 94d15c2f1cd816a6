"""taskq_cloud: a task queue in which every moving part is a cloud service."""
