"""Inputs that nobody in his right mind sends, at every entrance, made from a seed."""
