"""The service that tutorials show: Flask's own server, scikit-learn's KMeans, JSON.

``python -m benchmarks.flask_service MODEL.joblib PORT``
"""

from __future__ import annotations

import logging
import sys

import joblib
import numpy as np
from flask import Flask, jsonify, request

model = joblib.load(sys.argv[1])
app = Flask(__name__)


@app.route("/predict", methods=["POST"])
def predict():  # type: ignore[no-untyped-def]
    """Labels of the rows."""
    rows = np.array(request.get_json()["rows"])
    return jsonify({"labels": model.predict(rows).tolist()})


if __name__ == "__main__":
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    app.run(port=int(sys.argv[2]), threaded=True)
