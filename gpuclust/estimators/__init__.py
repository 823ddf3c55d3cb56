"""Estimators: thin shells with scikit-learn's interface."""
