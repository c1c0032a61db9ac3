"""The card service: issues cards, owns the database, serves people and readers."""

from typing import Final

__version__: Final = "0.1.0"
