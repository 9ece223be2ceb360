"""python -m taxii_server: the command line."""

from taxii_server.cli import main

main(prog_name="taxii-server")
