"""The rules for tasks, messages, workflows and schedules, without any I/O and without an SDK."""
