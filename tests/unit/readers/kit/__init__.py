"""A service and devices to test the reader against: they keep the contract, and break it when a test asks."""
