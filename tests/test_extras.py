import pytest

from chainrule.extras import require


def test_a_missing_library_names_the_extra_to_install():
    with pytest.raises(ModuleNotFoundError, match=r'no_such_library is needed here.*pip install "chainrule\[plots\]"'):
        require("no_such_library", "plots")


def test_a_library_that_is_there_is_handed_out():
    import json

    assert require("json", "plots") is json
