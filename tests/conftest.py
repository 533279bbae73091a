"""Settings of every test: hypothesis tries the same examples on every run, PyTorch uses one thread per worker."""

import signal
from collections.abc import Iterator

import pytest
import torch
from hypothesis import HealthCheck, settings

settings.register_profile(
    "chainrule",
    deadline=None,
    derandomize=True,
    database=None,
    max_examples=20,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
settings.load_profile("chainrule")
torch.set_num_threads(1)

# A shell starts what runs in the background deaf to Ctrl-C; the tests are about what happens when it is heard.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Undo what hypothesis's plugin does to the settings of a test with parameters: it lays new ones over those before.

    After a thousand parameters of one test, to ask the last ones for their database ended in a RecursionError.
    """
    test, name = getattr(item, "obj", None), "_hypothesis_internal_use_settings"
    function = getattr(test, "__func__", test)
    before = getattr(function, name, None)
    try:
        return (yield)
    finally:
        if before is not None:
            setattr(function, name, before)


@pytest.fixture
def float64_by_default() -> Iterator[None]:
    """PyTorch keeps what is one number for each parameter, such as NAdam's mu_product, in its default dtype."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)
