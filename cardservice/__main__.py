"""``python -m cardservice``."""

from cardservice.cli import main

main()
