from __future__ import annotations

import pytest

import rover.backend


def test_every_public_name_can_be_imported():
    for name in rover.backend.__all__:
        assert getattr(rover.backend, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        rover.backend.Nothing  # noqa: B018  the access is the test
