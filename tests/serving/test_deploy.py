"""The manifests name what is there."""

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gpuclust.cli.app import app

DEPLOY = Path(__file__).parents[2] / "deploy"
FILES = ["Dockerfile", "Dockerfile.cuda", "kubernetes/service.yaml", "kubernetes/gpu-patch.yaml"]
pytestmark = pytest.mark.skipif(not DEPLOY.exists(), reason="the manifests are not part of the package")


@pytest.mark.parametrize("name", FILES)
def test_options_exist_and_files_say_that_they_are_untested(name):
    text = (DEPLOY / name).read_text()
    known = CliRunner().invoke(app, ["serve", "--help"], env={"COLUMNS": "200"}).output
    for option in re.findall(r"(?:- |\")(--[a-z-]+)", text):
        assert option in known, option
    assert "Untested" in text


def test_probes_are_paths_of_the_service(client):
    text = (DEPLOY / "kubernetes/service.yaml").read_text() + (DEPLOY / "Dockerfile").read_text()
    paths = set(re.findall(r"path: (/\w+)", text)) | set(re.findall(r":8000(/\w+)", text))
    assert paths == {"/healthz", "/readyz", "/metrics"}
    assert all(client.get(path).status_code == 200 for path in paths)
