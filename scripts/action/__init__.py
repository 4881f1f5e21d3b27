"""Running the user's program: a process a message, or a program that is kept alive."""
