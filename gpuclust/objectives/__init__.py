"""Objectives: what a cluster's centre is, and what an assignment costs."""
