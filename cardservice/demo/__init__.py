"""The demonstration: two councils on embedded servers, two reader daemons on virtual hardware, and a story."""
