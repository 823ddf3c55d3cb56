"""The metrics, against scikit-learn's and against definitions written out."""
