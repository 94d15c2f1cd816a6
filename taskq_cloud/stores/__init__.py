"""Where results, large payloads and schedules are kept: a room for each port, and in it one adapter a file."""
