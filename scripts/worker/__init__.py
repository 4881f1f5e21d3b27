"""The worker: messages come from the queue, are run, and are settled by the outcome."""
