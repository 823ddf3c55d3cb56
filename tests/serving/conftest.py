"""Models that the tests serve."""

import numpy as np
import pandas as pd
import pytest

from gpuclust import KMeans, KMedians, MiniBatchKMeans, save_model

from .client import Client

NAMES = ["age", "income", "kids"]
RNG = np.random.default_rng(7)
X = np.concatenate([RNG.normal(center, 1.0, (60, 3)) for center in (0.0, 6.0, 14.0)]).round(4)
NEW = RNG.normal(6.0, 6.0, (40, 3)).round(4)
FRAME = pd.DataFrame(X, columns=NAMES)


def fitted(Class=KMeans, data=FRAME, k=3, **parameters):
    return Class(k, random_state=0, device="cpu", **parameters).fit(data)


@pytest.fixture(scope="session")
def model_path(tmp_path_factory):
    path = tmp_path_factory.mktemp("served") / "model.gpuclust"
    save_model(fitted(), path)
    return path


@pytest.fixture(scope="session")
def model():
    return fitted()


@pytest.fixture
def client(model_path):
    with Client(model_path, device="cpu") as made:
        yield made


@pytest.fixture
def serving(tmp_path):
    """Return a function that gives a client of a model, with settings."""
    made = []

    def start(model, **settings):
        path = tmp_path / f"model-{len(made)}.gpuclust"
        save_model(model, path)
        made.append(Client(path, device="cpu", **settings))
        return made[-1].__enter__()

    yield start
    for each in made:
        each.__exit__(None, None, None)


__all__ = ["FRAME", "NAMES", "NEW", "KMeans", "KMedians", "MiniBatchKMeans", "X", "fitted"]
