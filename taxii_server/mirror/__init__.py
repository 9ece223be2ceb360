"""Mirroring: what other hubs share comes here (pull), what a partner may read here goes there (push)."""
