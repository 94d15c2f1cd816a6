"""The container worker: it receives messages, runs their tasks, renews leases, settles, and drains before it stops."""
