"""Apps: what runs, whatever engine runs it."""
