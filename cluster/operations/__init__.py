"""Operations: what the commands do, whatever engine runs the apps."""
