"""What more than one module of these tests begins with."""

import sys

import pytest

from tests.studio.experiment.studying import write_visitors


@pytest.fixture(scope="module")
def visitors(tmp_path_factory):
    """The visitors of these tests are installed, here and in every process that is begun."""
    folder = write_visitors(tmp_path_factory.mktemp("visitors"))
    patch = pytest.MonkeyPatch()
    patch.syspath_prepend(str(folder))
    patch.setenv("DESCANT_HOME", str(tmp_path_factory.mktemp("home")))
    yield folder
    patch.undo()
    sys.modules.pop("hearing", None)
