"""What the plots show: artists, data, limits and text, not pixels."""

from types import SimpleNamespace

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from scipy.spatial.distance import cdist
from sklearn.cluster import KMeans as SklearnKMeans
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.metrics import silhouette_samples

from gpuclust import KMeans, KMedians, MiniBatchKMeans
from gpuclust.plotting import (
    CentersHeatmapDisplay,
    ClusterDistanceDisplay,
    ClusterSizesDisplay,
    CriteriaDisplay,
    ElbowDisplay,
    FeatureDisplay,
    InertiaHistoryDisplay,
    ScatterDisplay,
    SilhouetteDisplay,
    StabilityDisplay,
    cluster_colors,
)
from gpuclust.plotting.number import criteria
from gpuclust.plotting.style import plain, readable

RNG = np.random.default_rng(3)
CORNERS = np.array([[0.0, 0, 0, 0], [9, 0, 0, 1], [0, 9, 0, 2]])
X = np.concatenate([RNG.normal(corner, 1, (n, 4)) for corner, n in zip(CORNERS, (60, 40, 20), strict=True)])
Y = np.repeat([0, 1, 2], (60, 40, 20))
# the second is no formula that matplotlib could read
NAMES = ["income", r"a$\frac$ & <c>", "x\ny", "a name that is far too long to be shown in full"]
MODEL = KMeans(3, init=CORNERS, n_init=1, device="cpu").fit(X)


@pytest.fixture(autouse=True)
def headless():
    matplotlib.use("Agg")
    yield
    plt.close("all")


@pytest.fixture
def ax():
    """Axes that pyplot knows nothing of."""
    return Figure(figsize=(4, 3)).subplots()


def texts(axis):
    return [label.get_text() for label in axis.get_ticklabels()]


def rendered(display):
    """Draw for real: what is wrong with text, limits or images raises or warns only then."""
    display.figure_.set_dpi(40)
    FigureCanvasAgg(display.figure_).draw()
    return display


# --- axes and style ---


def test_given_axes_are_drawn_on_and_no_figure_is_made(ax):
    display = ClusterSizesDisplay.from_predictions(Y, ax=ax)
    assert display.ax_ is ax and display.figure_ is ax.figure
    assert plt.get_fignums() == []


def test_without_axes_pyplot_makes_a_figure_of_the_size_that_is_needed():
    few, many = (ClusterSizesDisplay.from_predictions(np.arange(k)) for k in (3, 30))
    assert plt.get_fignums() == [few.figure_.number, many.figure_.number]
    assert many.figure_.get_size_inches()[1] > 2 * few.figure_.get_size_inches()[1]


@pytest.mark.parametrize("k", [1, 2, 8, 9, 30, 31, 200])
def test_every_cluster_has_a_colour_of_its_own(k):
    colors = cluster_colors(k)
    assert colors.shape == (k, 4)
    assert len(np.unique(colors, axis=0)) == k


def test_neighbouring_numbers_differ_in_lightness():
    """What is left of a colour for readers who see none."""
    grey = cluster_colors(30)[:, :3] @ (0.299, 0.587, 0.114)
    assert np.abs(np.diff(grey)).min() > 0.1


def test_names_are_shortened_to_one_line():
    assert plain("x\n y") == "x y"
    assert plain("a" * 20 + "b" * 20) == "a" * 13 + "…" + "b" * 13
    assert readable((1, 1, 1, 1)) == "black" and readable((0, 0, 0.3, 1)) == "white"


# --- sizes ---


def test_sizes(ax):
    display = rendered(ClusterSizesDisplay.from_estimator(MODEL, X, ax=ax))
    assert [bar.get_width() for bar in display.bars_] == [60, 40, 20]
    assert [text.get_text() for text in ax.texts] == ["60 (50.0%)", "40 (33.3%)", "20 (16.7%)"]
    assert display.line_.get_xdata()[0] == 40
    assert "3 clusters, 120 rows" in ax.get_title()


def test_sizes_count_empty_clusters_of_a_model_and_name_given_labels(ax):
    model = KMeans(3, init=CORNERS, n_init=1, device="cpu").fit(X)
    assert ClusterSizesDisplay.from_estimator(model, X[:60], ax=ax).sizes.tolist() == [60, 0, 0]
    named = ClusterSizesDisplay.from_predictions(np.array(["b", r"$\frac$", "b"]))
    assert named.sizes.tolist() == [1, 2] and texts(rendered(named).ax_.yaxis) == [r"$\frac$", "b"]


# --- silhouettes ---


def test_silhouettes(ax):
    display = rendered(SilhouetteDisplay.from_estimator(MODEL, X, ax=ax))
    want = silhouette_samples(X, Y)
    np.testing.assert_allclose(display.silhouettes, want, rtol=1e-6)
    assert display.line_.get_xdata()[0] == pytest.approx(want.mean())
    assert len(display.knives_) == 3
    for cluster, knife in enumerate(display.knives_):
        points = knife.get_paths()[0].vertices
        assert points[:, 0].max() == pytest.approx(want[Y == cluster].max())
        assert np.ptp(points[:, 1]) == np.sum(Y == cluster)
    low = [knife.get_paths()[0].vertices[:, 1] for knife in display.knives_]
    assert low[0].max() < low[1].min() and low[1].max() < low[2].min()
    assert ax.get_ylim()[0] > low[2].max() and "sample" not in ax.get_title()


def test_the_title_states_the_sample(ax):
    display = SilhouetteDisplay.from_predictions(X, Y, max_rows=50, ax=ax)
    assert len(display.silhouettes) == 50
    assert "a random sample of 50 of 120 rows" in ax.get_title()
    again = SilhouetteDisplay.from_predictions(X, Y, max_rows=50)
    other = SilhouetteDisplay.from_predictions(X, Y, max_rows=50, random_state=1)
    assert np.array_equal(display.silhouettes, again.silhouettes)
    assert not np.array_equal(display.silhouettes, other.silhouettes)


def test_numbers_of_thirty_clusters_do_not_overlap_in_a_silhouette_plot():
    sizes = np.ones(30, int)
    sizes[::7] = 300
    display = SilhouetteDisplay(RNG.uniform(-0.2, 0.9, sizes.sum()), np.repeat(np.arange(30), sizes), range(30)).plot()
    display.figure_.canvas.draw()
    boxes = [label.get_window_extent() for label in display.ax_.yaxis.get_ticklabels()]
    assert len(boxes) == 30
    tops = sorted(box.y0 for box in boxes)
    assert np.diff(tops).min() > 0.7 * min(box.height for box in boxes)


def test_k_medians_are_judged_by_manhattan_distance(ax):
    model = KMedians(3, init=CORNERS, n_init=1, device="cpu").fit(X)
    display = SilhouetteDisplay.from_estimator(model, X, ax=ax)
    np.testing.assert_allclose(display.silhouettes, silhouette_samples(X, model.labels_, metric="manhattan"), rtol=1e-6)


# --- scatter ---


def test_scatter_of_principal_components(ax):
    display = rendered(ScatterDisplay.from_estimator(MODEL, X, ax=ax))
    pca = PCA(2).fit(X)
    np.testing.assert_allclose(display.points, pca.transform(X), atol=1e-9)
    np.testing.assert_allclose(display.centers, pca.transform(MODEL.cluster_centers_), atol=1e-9)
    assert [len(part.get_offsets()) for part in display.points_] == [60, 40, 20]
    assert [text.get_text() for text in display.centers_] == ["0", "1", "2"]
    assert [text.get_position() for text in display.centers_] == [tuple(place) for place in display.centers]
    assert f"({pca.explained_variance_ratio_[0]:.0%} of the variance)" in ax.get_xlabel()


def test_scatter_of_two_features_with_hostile_names(ax):
    display = rendered(ScatterDisplay.from_estimator(MODEL, pd.DataFrame(X, columns=NAMES), features=(1, NAMES[3]), ax=ax))
    assert np.array_equal(display.points, X[:, [1, 3]])
    assert np.array_equal(display.centers, MODEL.cluster_centers_[:, [1, 3]])
    assert ax.get_xlabel() == NAMES[1]
    assert ax.get_ylabel() == "a name that i…shown in full"


def test_density_counts_every_row(ax):
    display = rendered(ScatterDisplay.from_predictions(X, Y, kind="density", ax=ax))
    assert display.points_[0].get_array().sum() == len(X)
    np.testing.assert_allclose(display.centers[0], display.points[Y == 0].mean(axis=0))


def test_scatter_draws_a_stated_sample(ax):
    display = ScatterDisplay.from_estimator(MODEL, X, max_rows=30, ax=ax)
    assert sum(len(part.get_offsets()) for part in display.points_) == 30
    assert "30 of 120 rows" in ax.get_title()


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"features": ("income", 0)}, "no feature 'income'; the features are x0, x1"),
        ({"features": (0, 4)}, "no feature 4; there are features 0 to 3"),
        ({"features": (0, 1, 2)}, "features has 3 entries"),
        ({"kind": "cloud"}, "none of 'points', 'density'"),
        ({"feature_names": ["a"]}, "feature_names has 1 names, but X has 4 features"),
    ],
)
def test_what_cannot_be_drawn_is_refused(how, message):
    with pytest.raises(ValueError, match=message):
        ScatterDisplay.from_estimator(MODEL, X, **how)
    assert plt.get_fignums() == []


def test_one_feature_and_labels_of_another_length_are_refused():
    with pytest.raises(ValueError, match="only one feature"):
        ScatterDisplay.from_predictions(X[:, :1], Y)
    with pytest.raises(ValueError, match=r"labels has shape \(119,\), but X has 120 rows"):
        ScatterDisplay.from_predictions(X, Y[1:])


# --- heat map ---


def test_centers_in_standard_units(ax):
    display = rendered(CentersHeatmapDisplay.from_estimator(MODEL, pd.DataFrame(X, columns=NAMES), ax=ax))
    want = (MODEL.cluster_centers_ - X.mean(axis=0)) / X.std(axis=0)
    np.testing.assert_allclose(display.image_.get_array(), want.T, rtol=1e-9)
    low, high = display.image_.get_clim()
    assert low == -high and texts(ax.yaxis)[1] == NAMES[1] and texts(ax.yaxis)[2] == "x y"
    assert len(ax.texts) == want.size
    given = CentersHeatmapDisplay.from_predictions(X, Y)
    np.testing.assert_allclose(given.values, want, rtol=1e-9)


def test_heat_map_of_many_features_shows_those_that_differ_most(ax):
    values = np.zeros((2, 60))
    values[0, [50, 7, 30]] = 5, 4, 3
    display = rendered(CentersHeatmapDisplay(values, [f"f{at}" for at in range(60)], max_features=3).plot(ax))
    assert texts(ax.yaxis) == ["f7", "f30", "f50"]
    assert "the 3 of 60 features whose centers differ most" in ax.get_title()
    assert display.image_.get_clim() == (-3, 3), "one far value must not wash out the others"


def test_a_constant_feature_is_zero_in_standard_units(ax):
    display = CentersHeatmapDisplay.from_predictions(np.column_stack([X, np.full(len(X), 7.0)]), Y, ax=ax)
    assert display.values[:, 4].tolist() == [0, 0, 0]


# --- a feature by cluster ---


def test_histograms(ax):
    display = rendered(FeatureDisplay.from_estimator(MODEL, X, 1, ax=ax))
    assert len(display.hist_) == 3
    for cluster, stairs in enumerate(display.hist_):
        top, edges, base = stairs.get_data()
        count = np.histogram(X[Y == cluster, 1], edges)[0]
        np.testing.assert_allclose((top - base) * count.max() / np.ptp(top), count, atol=1e-9)
        assert edges[0] == X[:, 1].min() and edges[-1] == X[:, 1].max()
        assert base == 2 - cluster
    assert ax.get_ylim()[0] < 0 and ax.get_ylim()[1] > max(stairs.get_data()[0].max() for stairs in display.hist_)


def test_boxes(ax):
    display = rendered(FeatureDisplay.from_predictions(X, Y, 0, kind="box", ax=ax))
    for cluster in range(3):
        values = X[Y == cluster, 0]
        assert display.box_["medians"][cluster].get_ydata()[0] == pytest.approx(np.median(values))
        ends = [display.box_["whiskers"][2 * cluster + at].get_ydata()[1] for at in (0, 1)]
        low, high = np.percentile(values, (5, 95))
        assert ends[0] >= low and ends[1] <= high


def test_violins_leave_out_empty_clusters(ax):
    display = rendered(FeatureDisplay(X[Y != 1, 0], Y[Y != 1], [0, 1, 2], r"$\frac$").plot(ax, kind="violin"))
    assert len(display.violins_) == 2
    assert texts(ax.xaxis) == ["0", "1", "2"]
    assert ax.get_title() == r"$\frac$ by cluster"
    with pytest.raises(ValueError, match="none of 'hist', 'box', 'violin'"):
        display.plot(ax, kind="pie")


# --- distances ---


def test_distances(ax):
    display = rendered(ClusterDistanceDisplay.from_estimator(MODEL, ax=ax))
    np.testing.assert_allclose(display.image_.get_array(), cdist(MODEL.cluster_centers_, MODEL.cluster_centers_))
    assert display.sizes.tolist() == [60, 40, 20]
    medians = KMedians(3, init=CORNERS, n_init=1, device="cpu").fit(X)
    centers = medians.cluster_centers_
    display = ClusterDistanceDisplay.from_estimator(medians, X[:60], ax=ax)
    np.testing.assert_allclose(display.distances, cdist(centers, centers, "cityblock"))
    assert display.sizes.tolist() == [60, 0, 0]


def test_the_map_keeps_distances_that_fit_the_plane_and_areas_are_sizes(ax):
    centers = RNG.normal(size=(5, 2))
    display = rendered(ClusterDistanceDisplay.from_predictions(centers, [0, 1, 1, 1, 2, 3, 4], kind="map", ax=ax))
    drawn = display.circles_.get_offsets()
    areas = display.circles_.get_sizes()
    assert areas[0] == areas.max() and areas[0] == pytest.approx(3 * areas[1])
    order = np.argsort(-display.sizes, kind="stable")
    np.testing.assert_allclose(cdist(drawn, drawn), cdist(centers[order], centers[order]), atol=1e-9)


@pytest.mark.parametrize("k", [1, 2])
def test_maps_of_one_and_two_clusters(k, ax):
    display = rendered(ClusterDistanceDisplay.from_predictions(CORNERS[:k], kind="map", ax=ax))
    apart = np.linalg.norm(CORNERS[k - 1] - CORNERS[0])
    assert np.ptp(display.circles_.get_offsets(), axis=0).tolist() == pytest.approx([apart, 0])
    with pytest.raises(ValueError, match="none of 'euclidean', 'manhattan'"):
        ClusterDistanceDisplay.from_predictions(CORNERS, metric="cosine")


# --- the number of clusters ---


def test_elbow(ax):
    estimator = KMeans(8, random_state=0, device="cpu")
    display = rendered(ElbowDisplay.from_estimator(estimator, X, range(6, 0, -1), ax=ax))
    assert display.ks.tolist() == [1, 2, 3, 4, 5, 6] and display.knee == 3
    assert display.line_.get_ydata()[2] == pytest.approx(MODEL.inertia_)
    assert display.knee_line_.get_xdata() == [3, 3]
    assert ax.get_legend().get_texts()[0].get_text() == "elbow at k = 3"
    assert estimator.n_clusters == 8 and not hasattr(estimator, "inertia_")


def test_without_an_elbow_the_title_says_so(ax):
    display = ElbowDisplay([1, 2, 3], [3.0, 2.0, 1.0]).plot(ax)
    assert display.knee_line_ is None and "no clear elbow" in ax.get_title()


CHOICE = SimpleNamespace(
    table=pd.DataFrame({"k": [2, 3, 4], "inertia": [9.0, 2.0, 1.0], "silhouette": [0.3, 0.8, 0.5], "gap": [1.0, 2.0, 2.1],
                        "gap_se": [0.1, 0.2, 0.3], "seconds": [1.0, 1.0, 1.0]}),
    choices={"elbow": 3, "silhouette": 3, "gap": None}, recommended_k=3,
)  # fmt: skip


def test_criteria():
    display = rendered(CriteriaDisplay.from_result(CHOICE))
    assert len(display.ax_) == 3
    assert display.lines_["elbow"].get_ydata().tolist() == [9, 2, 1]
    assert display.choice_lines_["silhouette"].get_xdata() == [3, 3] and display.choice_lines_["gap"] is None
    assert "gap: chooses none" in display.ax_[2].get_title()
    assert [len(each.containers) for each in display.ax_] == [0, 0, 1], "error bars of the gap"
    assert sum(each.get_visible() for each in display.figure_.axes) == 3


def test_criteria_on_given_axes_and_elbow_of_a_choice(ax):
    with pytest.raises(ValueError, match="1 axes for 3 criteria"):
        CriteriaDisplay.from_result(CHOICE, ax=ax)
    display = criteria(CHOICE)
    axes = display.subplots(Figure())
    assert list(display.plot(axes).ax_) == list(axes.ravel()[:3])
    assert ElbowDisplay.from_result(CHOICE, ax=ax).knee_line_.get_xdata() == [3, 3]
    assert plt.get_fignums() == []


# --- the run ---


def test_history(ax):
    display = rendered(InertiaHistoryDisplay.from_estimator(MODEL, ax=ax))
    assert np.array_equal(display.line_.get_ydata(), MODEL.inertia_history_)
    assert display.line_.get_xdata()[0] == 1 and "converged" in ax.get_title()
    with pytest.raises(ValueError, match="This MiniBatchKMeans has no inertia_history_"):
        InertiaHistoryDisplay.from_estimator(MiniBatchKMeans(3, random_state=0).fit(X))


def test_stability(ax):
    stability = SimpleNamespace(ari=np.array([0.9, 0.8, 1.0]), jaccard=np.array([0.5, 0.95, np.nan]))
    display = rendered(StabilityDisplay.from_result(stability, ax=ax))
    assert [bar.get_width() for bar in display.bars_][:2] == [0.5, 0.95]
    assert "mean adjusted Rand index 0.900\n3 pairs" in ax.get_title()
    other = rendered(StabilityDisplay.from_result(stability, kind="ari"))
    assert sum(bar.get_height() for bar in other.bars_) == 3
    with pytest.raises(ValueError, match="kind='jaccard' cannot be drawn"):
        StabilityDisplay(stability.ari).plot(ax, kind="jaccard")


# --- what goes in ---


def test_estimators_of_scikit_learn_can_be_drawn(ax):
    model = SklearnKMeans(3, init=CORNERS, n_init=1).fit(X)
    assert ClusterSizesDisplay.from_estimator(model, X, ax=ax).sizes.tolist() == [60, 40, 20]
    assert len(ScatterDisplay.from_estimator(model, X, ax=ax).points_) == 3


def test_no_elbow_where_nothing_falls():
    """All rows the same: `kneed` would divide by zero."""
    with pytest.warns(ConvergenceWarning):
        display = ElbowDisplay.from_estimator(KMeans(random_state=0, device="cpu"), np.ones((20, 2)), ks=range(1, 5))
    assert display.knee is None and not display.inertia.any()


@pytest.mark.parametrize(
    "Display", [CentersHeatmapDisplay, ClusterDistanceDisplay, SilhouetteDisplay, ClusterSizesDisplay, ScatterDisplay]
)
def test_an_unfitted_estimator_is_named(Display):
    with pytest.raises(NotFittedError, match="KMeans instance is not fitted"):
        Display.from_estimator(KMeans(2), X)


def test_an_unfitted_estimator_has_no_history():
    with pytest.raises(NotFittedError, match="KMeans instance is not fitted"):
        InertiaHistoryDisplay.from_estimator(KMeans(2))
