import subprocess
import sys

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from veilcast.trackers import solver


def test_the_solver_comes_without_the_rest_of_its_package() -> None:
    # scipy.optimize costs a quarter of a second of every start
    code = "import sys, veilcast.trackers.assignment; print('scipy.optimize' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_it_says_what_the_package_says() -> None:
    rng = np.random.default_rng(1)
    for shape in ((1, 1), (3, 5), (7, 4), (12, 12)):
        costs = rng.random(shape)
        assert np.array_equal(solver.solver()(costs), linear_sum_assignment(costs))


def test_where_scipy_keeps_it_elsewhere_the_package_is_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(solver, "EXTENSION_SUFFIXES", [".elsewhere"])
    assert solver.solver() is linear_sum_assignment
