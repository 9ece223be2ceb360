"""The network side of the server: connections, TLS, and the gunicorn worker that gives threads to whole requests."""
