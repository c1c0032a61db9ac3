"""Devices of a gate: bytes come in, switches go out. Nothing here knows what a card means.

``interfaces`` has the values and protocols, ``devices`` opens a device from its URL, ``errors`` the faults.
Each device family is optional and imported only when a URL asks for it.
"""
