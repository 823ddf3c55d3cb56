"""Solvers: the fixed-point loop, seeding, mini-batches."""
