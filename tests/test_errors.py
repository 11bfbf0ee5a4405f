from __future__ import annotations

import pickle

import pytest

from codec import errors
from codec.errors import CodecError

ALL = [
    kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, CodecError)
]


@pytest.mark.parametrize("kind", ALL)
def test_errors_name_the_argument_that_helps(kind: type[CodecError]) -> None:
    """Also those that come from another process."""
    error = pickle.loads(pickle.dumps(kind("too deep", field="to_8bit")))
    assert (type(error), str(error), error.field) == (kind, "too deep", "to_8bit")
    assert kind("too deep").field is None
