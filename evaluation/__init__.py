"""How private, useful, real and steady an output is, in the units of the field. No torch."""
