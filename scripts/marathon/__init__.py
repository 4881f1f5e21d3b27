"""Marathon: how it is asked, and where an app runs by what it answers."""
