"""So that an assertion that the tests of promises share says what it compared."""

import pytest

pytest.register_assert_rewrite("tests.sonify.promises.takes")
