"""When periodic tasks are due: schedules, the entries that have them, and what platforms make of both. No I/O."""
