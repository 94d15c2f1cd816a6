"""The container runtime: receives, runs, renews leases, settles, and drains."""
