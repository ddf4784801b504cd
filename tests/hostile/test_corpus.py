"""Every named hostile input is answered calmly, over every kind of session."""

import pytest

from ..browser import Browser
from ..timing import LINEAR, takes_at_most
from .case import Case
from .corpus import CASES
from .headers import FILLED
from .target import Target, refused_calmly

TRIED = [(kind, case) for case in CASES for kind in case.kinds]


def test_the_corpus_is_large_and_its_names_differ() -> None:
    names = [case.name for case in CASES]
    assert len(names) == len(set(names))
    assert len(names) >= 150


@pytest.mark.parametrize(
    ("target", "case"),
    [pytest.param(kind, case, id=f"{kind}: {case.name}") for kind, case in TRIED],
    indirect=["target"],
)
async def test_a_hostile_input_is_answered_calmly(target: Target, case: Case) -> None:
    headers = await case.send(target)
    counting = target.counting
    rounds = counting.rounds if counting else 0
    await refused_calmly(target, headers, case.expected(target.kind), target.json_app if case.json else None)
    if counting is None:
        return
    assert counting.put_aside == case.put_aside
    assert case.reads is None or counting.rounds - rounds == case.reads


@pytest.mark.parametrize("target", ["signed", "encrypted", "memory"], indirect=True)
@pytest.mark.parametrize("filler", FILLED.values(), ids=FILLED.keys())
async def test_time_is_linear_in_the_length_of_the_header(target: Target, filler: object) -> None:
    assert callable(filler)
    small, large = ([(b"cookie", filler(b"?" * size))] for size in (8 * 1024, 64 * 1024))
    assert await takes_at_most(LINEAR, lambda headers: Browser(target.app).get(headers=headers), small, large)
