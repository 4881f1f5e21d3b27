"""Lines and bars on a person's terminal while something lasts."""
