"""The suite of the contract explains its assertions like a test file."""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite("tests.storage.contract", "tests.storage.ledger_contract", "tests.storage.samples")
