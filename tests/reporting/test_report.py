"""The report: one well-formed file that needs nothing else, shows all that it should, and trusts no value."""

import base64
import html
import io
import json
import re
import struct
import sys
import zlib
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from sklearn.datasets import make_blobs
from sklearn.exceptions import NotFittedError
from sklearn.preprocessing import StandardScaler

import gpuclust
from gpuclust import KMeans, KMedians, MiniBatchKMeans
from gpuclust.reporting import describing, judging, placing, report, subject, write_report
from gpuclust.reporting.blocks import Figure
from gpuclust.reporting.words import joined, number, probability, quantity
from gpuclust.selection import choose_k

SECTIONS = ["data", "k", "sizes", "quality", "stability", "profiles", "separation", "places", "odd-rows", "method"]
HOSTILE = ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "a & b 'c' $d$", "{{ 7 * 7 }}{% raw %}"]
VOID = {"meta", "img", "br", "hr", "link", "input"}


class Reader(HTMLParser):
    """A strict reader: every tag that opens is closed in turn."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.open, self.tags, self.text, self.captions = [], [], [], {}
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        assert len(dict(attrs)) == len(attrs), f"an attribute twice in {tag}"
        self.tags.append((tag, dict(attrs), tuple(self.open)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.text.append(data)

    def all(self, tag):
        return [attrs for name, attrs, _ in self.tags if name == tag]

    @property
    def words(self):
        return " ".join(" ".join(self.text).split())


def png(width=2, height=2):
    """The bytes of a black picture."""
    rows = b"".join(b"\0" + b"\0" * width for _ in range(height))
    parts = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    chunks = (struct.pack(">I", len(d)) + n + d + struct.pack(">I", zlib.crc32(n + d)) for n, d in parts)
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


BLACK = "data:image/png;base64," + base64.b64encode(png()).decode()


@pytest.fixture
def undrawn(monkeypatch):
    """Pictures are what takes the time."""
    for module in (judging, describing, placing):
        monkeypatch.setattr(module, "picture", lambda draw, size, alt, caption, **how: Figure(BLACK, 2, 2, alt, caption))


def page(path, *arguments, **how):
    write_report(path, *arguments, **how)
    return Reader(path.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """30 clusters and 50 features, some with hostile names; drawn for real."""
    X, _ = make_blobs(1500, 50, centers=30, random_state=0)
    frame = pd.DataFrame(X, columns=HOSTILE + [f"feature {at}" for at in range(46)])
    model = KMeans(30, random_state=0, device="cpu").fit(frame)
    path = tmp_path_factory.mktemp("report") / "report.html"
    write_report(path, model, frame, n_runs=2, command="gpuclust fit '<b>.csv' -k 30", seconds=1.5)
    return path


@pytest.fixture(scope="module")
def read(large):
    return Reader(large.read_text(encoding="utf-8"))


# --- the file ---


def test_it_is_small_and_complete(large, read):
    assert large.stat().st_size < 3_000_000
    assert [each["id"] for each in read.all("section")] == SECTIONS
    assert [each["href"] for each in read.all("a")][1:] == [f"#{name}" for name in SECTIONS]
    assert large.read_text(encoding="utf-8").startswith("<!DOCTYPE html>\n<html lang=\"en\">")
    assert list(large.parent.iterdir()) == [large]


def test_nothing_is_fetched_or_executed(large, read):
    text = large.read_text(encoding="utf-8")
    assert not {tag for tag, _, _ in read.tags} & {"script", "link", "iframe", "object", "embed", "base", "form"}
    for tag, attrs, _ in read.tags:
        assert not [name for name in attrs if name.startswith("on")], tag
        for name in ("src", "href", "srcset", "action", "data", "poster"):
            assert attrs.get(name, "#").startswith(("data:image/png;base64,", "#")), (tag, name)
    assert "url(" not in text and "@import" not in text
    assert "://" not in re.sub(r"base64,[^\"]*", "", text)


def test_hostile_names_are_text(read):
    for name in HOSTILE:
        assert name in read.words
    assert {tag for tag, _, _ in read.tags} <= {
        "html", "head", "meta", "title", "style", "body", "a", "header", "h1", "p", "dl", "div", "dt", "dd", "nav", "ol",
        "li", "main", "section", "h2", "ul", "table", "caption", "span", "thead", "tbody", "tr", "th", "td", "figure",
        "img", "figcaption", "details", "summary", "pre", "code", "footer",
    }  # fmt: skip
    assert len(read.all("img")) == 13


def test_every_picture_has_data_a_size_and_words(read):
    for image in read.all("img"):
        data = base64.b64decode(image["src"].partition(",")[2], validate=True)
        assert data.startswith(b"\x89PNG") and len(data) > 5000
        width, height = struct.unpack(">II", data[16:24])
        assert width / height == pytest.approx(int(image["width"]) / int(image["height"]), rel=0.01)
        assert len(image["alt"]) > 30
    assert len(read.all("figcaption")) == len(read.all("img"))


def test_pictures_are_not_blank(read):
    from matplotlib.image import imread

    for image in read.all("img"):
        pixels = imread(io.BytesIO(base64.b64decode(image["src"].partition(",")[2])))
        assert (pixels[..., :3].min(axis=2) < 0.5).mean() > 0.003, image["alt"]


def test_tables_can_be_read_without_eyes(read):
    tables = read.all("table")
    assert len(tables) == len(read.all("caption")) > 35
    assert all(head.get("scope") in ("col", "row") for head in read.all("th"))
    ids = [attrs["id"] for _, attrs, _ in read.tags if "id" in attrs]
    assert len(set(ids)) == len(ids)
    regions = [each for each in read.all("div") if each.get("role") == "region"]
    assert len(regions) == len(tables) and all(each["aria-labelledby"] in ids and each["tabindex"] == "0" for each in regions)
    assert [tag for tag, _, _ in read.tags if re.fullmatch(r"h\d", tag)] == ["h1"] + ["h2"] * len(SECTIONS)


def test_it_tells_how_it_was_computed(read):
    assert "gpuclust fit '<b>.csv' -k 30" in read.words
    for told in ("Device cpu", "Seed of the fit 0", "Seconds of the fit 1.5", f"gpuclust {gpuclust.__version__}", f"numpy {np.__version__}"):
        assert told in read.words, told


# --- what it says ---

X, Y = make_blobs(240, 3, centers=[[0, 0, 0], [20, 0, 1], [0, 20, 2]], cluster_std=1.0, random_state=0)
MODEL = KMeans(3, init=np.array([[0.0, 0, 0], [20, 0, 1], [0, 20, 2]]), n_init=1, device="cpu").fit(X)
FAST = {"n_runs": 2, "sample_size": 100}


def test_numbers_are_those_of_the_data(tmp_path, undrawn):
    found = page(tmp_path / "r.html", MODEL, X, **FAST)
    assert "3 clusters of 240 rows" in found.words
    for value in (MODEL.inertia_, X[:, 0].mean(), *MODEL.cluster_centers_[1]):
        assert number(value) in found.words
    assert "a random sample of 100 of 240 rows" in found.words
    assert "3 clusters were asked for. On a random sample of 100 of 240 rows, the criteria recommend 3" in found.words
    odd = np.argsort(-np.linalg.norm(X - MODEL.cluster_centers_[MODEL.labels_], axis=1))[0]
    cells = [html.unescape(cell) for cell in re.findall(r'<th scope="row">(\d+)</th>', (tmp_path / "r.html").read_text())]
    assert str(odd) in cells


def test_inertia_is_that_of_the_rows_at_hand(tmp_path, undrawn):
    found = page(tmp_path / "r.html", MODEL, X[:100], **FAST)
    assert number(-MODEL.score(X[:100])) in found.words and number(MODEL.inertia_) not in found.words


def test_values_are_told_in_the_units_before_scaling(tmp_path, undrawn):
    scaler = StandardScaler().fit(X * 1000)
    Z = scaler.transform(X * 1000)
    model = KMeans(3, random_state=0, device="cpu").fit(Z)
    found = page(tmp_path / "r.html", model, Z, scaler=scaler, **FAST)
    assert number((X * 1000)[:, 0].max()) in found.words and number(Z[:, 0].max()) not in found.words
    assert "in the units before scaling" in found.words
    typical = np.linalg.norm(Z - model.cluster_centers_[0], axis=1).argmin()
    assert " ".join(number(value) for value in X[typical] * 1000) in found.words


def test_a_choice_of_k_is_explained(tmp_path, undrawn):
    choice = choose_k(X, range(2, 6), criteria=("elbow", "silhouette"), random_state=0)
    found = page(tmp_path / "r.html", choice.best_estimator_, X, choice=choice, **FAST)
    assert "3 clusters were chosen:" in found.words
    assert choice.reasons["silhouette"] in found.words and "were asked for" not in found.words


def test_a_fit_that_is_stuck_is_told(tmp_path, undrawn):
    stuck = KMeans(3, init=X[Y == 0][:3], n_init=1, max_iter=1, device="cpu").fit(X)
    assert "fit it again from other first centers" in page(tmp_path / "r.html", stuck, X, **FAST).words
    assert "fit it again" not in page(tmp_path / "r.html", MODEL, X, **FAST).words


KINDS = {
    "medians": (KMedians(3, random_state=0, device="cpu"), X),
    "mini-batch": (MiniBatchKMeans(3, random_state=0, device="cpu"), X),
    "one cluster": (KMeans(1, device="cpu"), X),
    "one feature": (KMeans(3, random_state=0, device="cpu"), X[:, :1]),
    "two rows": (KMeans(2, random_state=0, device="cpu"), X[:2]),
    "sparse": (KMeans(3, random_state=0, device="cpu"), sp.csr_matrix(np.round(np.abs(X)))),
    "stream": (KMeans(3, random_state=0, device="cpu"), gpuclust.stream([X[:100], X[100:]])),
    "constant feature": (KMeans(3, random_state=0, device="cpu"), np.column_stack([X, np.ones(len(X))])),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_model_and_rows(kind, tmp_path, undrawn):
    estimator, data = KINDS[kind]
    found = page(tmp_path / "r.html", estimator.fit(data), data, **FAST)
    assert [each["id"] for each in found.all("section")] == SECTIONS
    assert "nan" not in found.words.lower().split()


def test_pictures_of_many_clusters_show_the_largest(tmp_path, undrawn):
    Z = np.random.default_rng(0).normal(size=(300, 2))
    model = KMeans(50, random_state=0, device="cpu").fit(Z)
    assert "The 40 largest of 50 clusters are shown." in page(tmp_path / "r.html", model, Z, **FAST).words


def test_sorting_is_left_to_the_sample_where_there_are_many_values(tmp_path, undrawn, monkeypatch):
    words = "Effects and tests by feature, the largest effect first; on a random sample of 100 of 240 rows"
    assert words not in page(tmp_path / "r.html", MODEL, X, **FAST).words
    monkeypatch.setattr(subject, "MOST_VALUES", X.size - 1)
    found = page(tmp_path / "r.html", MODEL, X, **FAST)
    assert words in found.words and "duplicates were looked for on a random sample of 100 of 240 rows" in found.words


def test_a_model_from_a_file_has_its_report(tmp_path, undrawn):
    gpuclust.save_model(MODEL, tmp_path / "m.gpuclust")
    loaded = gpuclust.load_model(tmp_path / "m.gpuclust")
    found = page(tmp_path / "r.html", loaded, X, notes=["A <remark>."], **FAST)
    assert "A <remark>." in found.words and "Inertia by iteration" in found.words
    del loaded.inertia_history_  # as mini-batches and files of format 1
    assert "Inertia by iteration" not in page(tmp_path / "r.html", loaded, X, **FAST).words


def test_the_same_call_writes_the_same_page(tmp_path, undrawn, monkeypatch):
    def steady(text):
        return re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d|<dt>Seconds of this report</dt><dd>[\d.]+", "", text)

    texts = []
    for name in ("a.html", "b.html"):
        page(tmp_path / name, MODEL, X, **FAST)
        texts.append(steady((tmp_path / name).read_text()))
    assert texts[0] == texts[1]
    page(tmp_path / "c.html", MODEL, X, random_state=1, **FAST)
    assert steady((tmp_path / "c.html").read_text()) != texts[0]


# --- what fails ---


def test_a_failure_half_way_leaves_no_file(tmp_path, undrawn, monkeypatch):
    monkeypatch.setattr(report.Page, "html", lambda page: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_report(tmp_path / "r.html", MODEL, X, **FAST)
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_keeps_the_file_that_was_there(tmp_path, undrawn, monkeypatch):
    path = tmp_path / "r.html"
    path.write_text("before")
    monkeypatch.setattr("os.fsync", lambda number: (_ for _ in ()).throw(OSError("full")))
    with pytest.raises(OSError, match="full"):
        write_report(path, MODEL, X, **FAST)
    assert path.read_text() == "before" and list(tmp_path.iterdir()) == [path]


def test_refusals(tmp_path):
    with pytest.raises(NotFittedError):
        write_report(tmp_path / "r.html", KMeans(3), X)
    with pytest.raises(ValueError, match="features"):
        write_report(tmp_path / "r.html", MODEL, X[:, :2])
    bad = X.copy()
    bad[3, 1] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        write_report(tmp_path / "r.html", MODEL, bad)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", report.NEEDED)
def test_what_is_missing_is_named_before_the_work(name, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=rf"A report needs {name}: run pip install 'gpuclust\[analysis\]'"):
        write_report(tmp_path / "r.html", None, None)


# --- words ---


def test_numbers_in_words():
    assert [number(x) for x in (3, 1234567.0, 0.123456, 1234.56, -0.00012345, 1.5e-9, 2.5e12, float("nan"), None, -0.0)] == [
        "3", "1,234,567", "0.1235", "1,235", "-0.0001234", "1.500e-09", "2.500e+12", "–", "–", "0",
    ]  # fmt: skip
    assert [probability(p) for p in (0.5, 1e-9, float("nan"))] == ["0.500", "< 0.001", "–"]
    assert (quantity(1, "row"), quantity(2000, "row")) == ("1 row", "2,000 rows")
    assert (joined(["a"]), joined("abc")) == ("a", "a, b and c")
    assert json.dumps(number(np.int64(7))) == '"7"'
