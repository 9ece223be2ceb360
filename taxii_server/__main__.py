"""python -m taxii_server: the same as the console script."""

from taxii_server.cli import main

if __name__ == "__main__":
    main()
