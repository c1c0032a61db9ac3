"""People and the dated facts stated on them."""
