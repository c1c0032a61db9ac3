"""``cardservice service``: a service document on the command line, on files and over HTTP."""
