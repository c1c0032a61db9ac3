"""Real servers as child processes, for the demo and the tests: PostgreSQL and Valkey from wheels, no root needed."""
