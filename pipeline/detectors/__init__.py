"""Face detection networks: what each wants as input, and how its outputs become candidates."""
