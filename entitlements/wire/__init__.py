"""Wire forms between service and readers: the feed downwards, taps and status upwards. JSON by msgspec."""
