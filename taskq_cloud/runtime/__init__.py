"""What settings make of an application, and what the rooms below it ask of it."""
