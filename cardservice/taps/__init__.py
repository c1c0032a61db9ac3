"""Taps and passages that readers send up, and reading them."""
