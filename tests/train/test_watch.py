import signal
import threading
import time

import pytest

from chainrule.train.watch import Watch, _Note


@pytest.fixture
def default_handler():
    """Ctrl-C as Python starts with it, whatever the test runner has made of it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_a_run_without_limits_may_go_on():
    with Watch() as watch:
        assert watch.reason() == ""


def test_time_is_counted_from_the_making():
    watch = Watch(0.01)
    time.sleep(0.02)
    assert watch.elapsed_s > 0.01
    assert watch.reason() == "max_seconds=0.01 were over"


@pytest.mark.usefixtures("default_handler")
def test_first_ctrl_c_is_noted_and_the_second_raises():
    with Watch() as watch:
        signal.raise_signal(signal.SIGINT)
        assert watch.reason() == "interrupted by Ctrl-C"
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.usefixtures("default_handler")
def test_handler_comes_back_after_an_error():
    with pytest.raises(ZeroDivisionError), Watch():
        raise ZeroDivisionError
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.usefixtures("default_handler")
def test_a_handler_of_the_program_stays_in_charge():
    heard = []
    signal.signal(signal.SIGINT, lambda number, frame: heard.append(number))
    with Watch() as watch:
        signal.raise_signal(signal.SIGINT)
        assert watch.reason() == ""
    assert heard == [signal.SIGINT]


@pytest.mark.usefixtures("default_handler")
def test_a_watch_within_a_watch_leaves_ctrl_c_to_the_outer_one():
    with Watch() as outer:
        with Watch() as inner:
            signal.raise_signal(signal.SIGINT)
            assert not inner.interrupted
        assert outer.interrupted
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_another_thread_leaves_the_handler_alone():
    seen = []

    def work():
        with Watch(1e9) as watch:
            seen.append((signal.getsignal(signal.SIGINT), watch.reason()))

    before = signal.getsignal(signal.SIGINT)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [(before, "")]


@pytest.mark.usefixtures("default_handler")
@pytest.mark.parametrize("when", ["begins", "ends"])
def test_a_watch_that_an_exception_ended_as_it_began_or_ended_does_not_keep_ctrl_c(monkeypatch, when):
    """A signal handler may raise right behind the call that sets ours."""
    real = signal.signal

    def interrupted(number, handler):
        if when == "begins":
            real(number, handler)
        raise RuntimeError("in between")

    watch = Watch()
    if when == "ends":
        watch.__enter__()
    with monkeypatch.context() as patch:
        patch.setattr(signal, "signal", interrupted)
        with pytest.raises(RuntimeError, match="in between"):
            watch.__enter__() if when == "begins" else watch.__exit__(None, None, None)
    with Watch() as another:  # which finds Ctrl-C free
        signal.raise_signal(signal.SIGINT)
        assert another.interrupted
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if when == "begins":
        real(signal.SIGINT, _Note(watch))
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
