"""Backends: the routines that touch rows, one set per device."""
