"""Gate actuators."""
