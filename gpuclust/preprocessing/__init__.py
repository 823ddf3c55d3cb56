"""What rows pass before they are clustered: scikit-learn's preprocessing for data of any size.

The scalers, the imputer and the Winsorizer are scikit-learn transformers: with the same names, parameters and results,
fitted in a few passes over rows that are in memory, streamed from disk or on a GPU. `transform` of a path or a stream
is a stream, so that a scikit-learn Pipeline of them and a clustering estimator runs out of core:

    Pipeline([("scale", StandardScaler()), ("cluster", KMeans(8))]).fit("data.parquet")

No step of a Pipeline can drop rows: `OutlierFilter` and `drop_missing` are used before it, and tell which rows are
left. `make_preprocessor` builds a pipeline from the types of a DataFrame's columns and explains what it chose.
"""

from .frequency import FrequencyEncoder
from .imputer import SimpleImputer
from .make import make_preprocessor
from .missing import Complete, drop_missing
from .onehot import OneHotEncoder
from .outliers import OutlierFilter
from .scalers import MinMaxScaler, RobustScaler, StandardScaler
from .winsorizer import Winsorizer

__all__ = [
    "StandardScaler", "MinMaxScaler", "RobustScaler", "SimpleImputer", "Winsorizer", "OutlierFilter",
    "FrequencyEncoder", "OneHotEncoder", "drop_missing", "Complete", "make_preprocessor",
]  # fmt: skip
