"""What the server says about a request in its WSGI environment, where no client can."""

#: True for what came to the port for machines (metrics_port): nothing else is answered there.
FOR_MACHINES = "taxii_server.for_machines"
#: True while the worker stops: it finishes what it has, and wants no more.
STOPPING = "taxii_server.stopping"
#: True for what a trusted proxy handed on.
FROM_PROXY = "taxii_server.from_proxy"
#: The id of the request: the one that a trusted proxy gave it, or one of our own.
REQUEST_ID = "taxii_server.request_id"
