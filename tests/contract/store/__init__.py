"""The contract of the store's port: abstract suites over a fixture `place`, one subclass an engine."""

import pytest

# The suites live outside of test modules, where pytest would not explain a failed assertion by itself.
pytest.register_assert_rewrite(
    "tests.contract.store.tenancy",
    "tests.contract.store.transactions",
    "tests.contract.store.life",
    "tests.contract.store.throttling",
)
