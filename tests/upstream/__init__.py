"""scikit-learn's own K-Means tests, run against this library's classes."""
