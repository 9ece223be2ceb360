"""Every setting, one module for each group of server.toml."""
