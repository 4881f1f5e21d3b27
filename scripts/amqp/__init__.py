"""RabbitMQ: how it is reached, the queues on the wire, and what its management API tells."""
