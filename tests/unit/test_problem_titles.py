"""If this fails, somebody is told "Problem" where a few words would have said what kind."""

import re
from pathlib import Path

import cardservice
from cardservice.api.problems import TITLES

_SOURCES = Path(cardservice.__file__).parent
_RAISED = re.compile(r"ApiProblem\(\s*(\d{3})\b")


def test_every_status_that_the_service_answers_with_has_a_title():
    raised = {int(status) for path in _SOURCES.rglob("*.py") for status in _RAISED.findall(path.read_text())}
    assert raised >= {404, 406, 409, 422, 501, 503}, "the pattern still finds them"
    assert raised <= TITLES.keys()
