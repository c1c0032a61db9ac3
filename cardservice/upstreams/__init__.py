"""Other systems' words on people (a library system's "not blocked"), kept with their time and told to gates."""
