"""Diffusion models as instruments: what opens them, looks into them and operates on them."""
