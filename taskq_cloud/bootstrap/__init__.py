"""Starting a process: finding the application that was named, and the formats of its log lines."""
