"""Value types that all rooms use: messages, outcomes, options, rates, payload references, ids, and their checks."""
