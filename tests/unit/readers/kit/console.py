"""The console script inside a test: a file of settings, and logs that stay as they are."""

from __future__ import annotations

from pathlib import Path

SETTINGS = """
service = "http://127.0.0.1:9"
data_dir = "{folder}"
health_port = 0
log = "console"
[[lanes]]
lane = "in-1"
sources = ["nfc+udp:127.0.0.1:54399"]
actuator = "modbus+tcp://127.0.0.1:5099?coil=0&passage=0"
"""


def settings_file(folder: Path) -> Path:
    """A file in ``folder`` with the settings of a reader whose data are in its folder ``data``."""
    path = folder / "reader.toml"
    path.write_text(SETTINGS.format(folder=folder / "data"), encoding="utf-8")
    return path
