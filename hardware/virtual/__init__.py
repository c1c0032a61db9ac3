"""Virtual devices: product code that plays the other side of a driver, in a process of its own.

They misbehave on demand, and they end with their standard input.
"""
