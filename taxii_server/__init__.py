"""A TAXII 2.1 hub whose policy decides, per object, what each partner may read."""

__version__ = "0.1.0"
