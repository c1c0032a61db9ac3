"""Services, sites and the lists that documents refer to; compiling facts into grants."""
