"""Operations on the agent hosts, all at once."""
