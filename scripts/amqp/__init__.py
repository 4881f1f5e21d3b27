"""RabbitMQ: connections to it, the queues on the wire, and its management API."""
