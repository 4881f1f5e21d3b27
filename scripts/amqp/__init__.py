"""RabbitMQ: connections to it, the queues on the wire, and its management API."""

from scripts.lean_import import lean_import

# For programs that run on asyncio; ours run on pika's own loop.
lean_import("pika", without="pika.adapters.asyncio_connection", name="AsyncioConnection")
