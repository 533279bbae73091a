"""The engine in forked children, subinterpreters, and where the system has no more threads."""

import subprocess
import sys
import textwrap

import pytest

from chainrule.engine import available

pytestmark = [
    pytest.mark.skipif(not available(), reason="the engine is not built"),
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux forks and counts like this"),
]

BEGIN = """
import gc, os, signal, sys, threading, time
import numpy as np, chainrule as cr

x, y = np.random.default_rng(0).normal(size=(2, 256, 64)).astype("float32")

def made(width=256):
    return cr.Sequential(cr.Linear(64, width, rng=0), cr.ReLU(), cr.Linear(width, 64, rng=1))

def train(model, **options):
    return cr.fit(model, cr.MSELoss(), (x, y), batch_size=64, optimizer=cr.Adam(1e-4), engine="native", threads=2,
                  **{"epochs": 2} | options)

def train_many(**options):
    return cr.fit_many(lambda seed: made(8), cr.MSELoss(), (x, y), optimizer=cr.Adam(), **options)

def in_child(function):
    pid = os.fork()
    if pid == 0:
        signal.alarm(60)  # one that hangs is ended
        try:
            function()
            gc.collect()
        except BaseException as error:
            print(f"{type(error).__name__}: {error}", flush=True)
            os._exit(1)
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
"""


def run(code, *, before=""):
    command = [sys.executable, "-W", "ignore", "-c", BEGIN + textwrap.dedent(code)]
    if before:
        command = ["bash", "-c", f'{before}; exec "$@"', "bash", *command]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_child_goes_on_with_a_network_that_used_threads_and_lets_it_go():
    run("""
        for _ in range(5):
            model = made()
            network = cr.compile(model, cr.MSELoss(), cr.SGD(0.01), batch_size=256, threads=2)
            for _ in range(20):
                network.step(x, y)
            before = model.state_dict()

            def look():
                global network, model
                assert all((model.state_dict()[name] == value).all() for name, value in before.items())
                network.step(x, y)
                assert not (model[0].weight.value == before["0.weight"]).all()
                del network, model

            in_child(look)
        if os.fork() == 0:
            sys.exit(0)  # a normal end, with the network alive
        assert os.wait()[1] == 0
    """)


def test_a_child_of_a_process_that_trains_finds_whole_numbers_and_can_train():
    run("""
        model, other, done = made(), made(32), threading.Event()

        def work():
            while not done.is_set():
                train(model, epochs=20)

        thread = threading.Thread(target=work)
        thread.start()
        for _ in range(15):
            time.sleep(0.005)

            def look():
                for network in (model, other):
                    assert all(np.isfinite(value).all() for value in network.state_dict().values())
                    assert np.isfinite(network(x)).all()
                    assert np.isfinite(train(network).losses[-1])

            in_child(look)
        done.set()
        thread.join()
    """)


def test_a_child_of_fit_many_can_train_too():
    run("""
        def forks(y, target):
            in_child(lambda: train(made(8)))
            return 0.0

        results = train_many(epochs=2, seeds=3, threads=2, metrics=[forks])
        assert not any(result.error for result in results), results
    """)


def test_fit_runs_in_python_in_a_subinterpreter():
    interpreters = pytest.importorskip("_xxsubinterpreters" if sys.version_info < (3, 13) else "_interpreters")
    assert interpreters
    found = run(f"""
        import subprocess
        code = '''
        import numpy as np, chainrule as cr
        x = np.ones((4, 2), "float32")
        history = cr.fit(cr.Sequential(cr.Linear(2, 2, rng=0)), cr.MSELoss(), (x, x), epochs=2, optimizer=cr.SGD(0.1))
        print(history.engine)
        '''
        import textwrap
        outer = '''
        import {interpreters.__name__} as interpreters
        interpreters.run_string(interpreters.create(), {{!r}})
        '''.format(textwrap.dedent(code))
        command = [sys.executable, "-W", "ignore", "-c", textwrap.dedent(outer)]
        done = subprocess.run(command, capture_output=True, text=True)
        print(done.stdout, done.stderr)
    """)
    if "NumPy" in found and "Error" in found:
        pytest.skip("this NumPy refuses subinterpreters")
    assert "python, as the native engine runs in Python's main interpreter only" in found


def test_where_the_system_has_no_more_threads_fewer_do():
    """400 threads' stacks do not fit into the address space that is left, a few do."""
    run(
        """
        results = train_many(epochs=2, seeds=3, threads=400)
        assert not any(result.error for result in results), results
        network = cr.compile(made(), cr.MSELoss(), cr.SGD(0.01), batch_size=256, threads=200)
        for _ in range(3):
            network.step(x, y)
        """,
        before="export OPENBLAS_NUM_THREADS=1; ulimit -v 1500000",
    )


def test_ctrl_c_ends_fit_many_however_often_it_is_pressed():
    run("""
        import random
        drawn = random.Random(0)
        for _ in range(10):
            def press():
                for _ in range(2):
                    time.sleep(drawn.uniform(0.001, 0.05))
                    os.kill(os.getpid(), signal.SIGINT)

            thread = threading.Thread(target=press)
            try:
                thread.start()
                train_many(epochs=10**6, seeds=4, threads=2)
            except KeyboardInterrupt:
                pass
            while True:  # the second may come when fit_many has ended already
                try:
                    signal.signal(signal.SIGINT, signal.SIG_IGN)
                    break
                except KeyboardInterrupt:
                    pass
            thread.join()
            signal.signal(signal.SIGINT, signal.default_int_handler)
        train(made(8))
    """)


def test_a_child_sees_arrays_that_were_held_as_they_are():
    """Held or not, all numbers are of one moment."""
    run("""
        model, y[...] = made(64), 1e9
        for parameter in model.param():
            parameter.value[...] = 0
        held = model[2].bias.value
        options = {"epochs": 10**9, "batch_size": 64, "optimizer": cr.SGD(2.0**-10), "keep": "last", "max_seconds": 600}
        fit = lambda: cr.fit(model, cr.L1Loss(), (x, y), engine="native", threads=1, **options)
        threading.Thread(target=fit, daemon=True).start()
        while not held.any():
            time.sleep(0.01)
        for _ in range(5):
            time.sleep(0.02)

            def look():
                newest = np.empty(64, "float32")
                model[2].bias.home.read_value(3, newest)
                assert (newest == model[2].bias.value).all() and (held == newest).all()

            in_child(look)
        os._exit(0)
    """)
