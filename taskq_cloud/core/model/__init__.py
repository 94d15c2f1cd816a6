"""The values that travel: messages, outcomes, options, rates, references to payloads, ids, and their validation."""
