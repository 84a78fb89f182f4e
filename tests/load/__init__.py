"""Tests of the load stage: one conformance suite, a small model of a destination, and the snapshot."""

import pytest

pytest.register_assert_rewrite(f"{__name__}.conformance")
