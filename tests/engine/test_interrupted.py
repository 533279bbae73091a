"""After an exception at any moment the numbers are those before what was interrupted, or those after it.

An exception may come from a signal handler (Ctrl-C is one) between any two of Python's instructions. So each program
here is run again and again, and ended at one instruction after the other; CHAINRULE_INTERRUPTIONS says at how many of
them, and at how many random moments (`make interrupt` takes an hour).
"""

import contextvars
import gc
import os
import random
import signal
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from networks import small_network

import chainrule as cr

MOMENTS = int(os.environ.get("CHAINRULE_INTERRUPTIONS", "250"))
HOME = str(Path(cr.__file__).parent)
X, Y = np.random.default_rng(0).normal(size=(2, 6, 2))


class Interrupt(BaseException):
    """Like KeyboardInterrupt: nobody who catches Exception catches it."""


def interrupted(program, moment):
    """Run a program until chainrule's instruction of this number; returns how many there were."""
    seen = 0

    def trace(frame, event, argument):
        nonlocal seen
        if not frame.f_code.co_filename.startswith(HOME):
            return None
        frame.f_trace_opcodes = True
        if event == "opcode":
            seen += 1
            if seen == moment:
                raise Interrupt
        return trace

    before, context = sys.gettrace(), contextvars.copy_context()  # in which NumPy keeps what it warns of
    sys.settrace(trace)
    try:
        context.run(program)
    except Interrupt:
        pass
    finally:
        sys.settrace(before)
    return seen


def moments(program):
    """Some instructions of a program, evenly spread, from the first to the last."""
    count = interrupted(program, -1)
    return sorted({1 + i * (count - 1) // max(1, MOMENTS - 1) for i in range(min(MOMENTS, count))})


def numbers(model, optimizer):
    """Everything that training changes, as it can be compared."""
    state = optimizer.state_dict(model.param())
    kept = tuple(tuple((k, np.asarray(v).tobytes()) for k, v in sorted(s.items())) for s in state["parameters"])
    return tuple(v.tobytes() for v in model.state_dict().values()), kept, state["steps"]


class Steps:
    """A loop of one's own that steps, looks, sets and asks; `states` holds what may be found between its parts."""

    def __init__(self):
        self.model, self.optimizer = small_network(), cr.Adam(lr=0.01)
        self.network = cr.compile(self.model, cr.MSELoss(), self.optimizer)
        self.network.step(X, Y)
        self.states = set()

    def note(self):
        self.states.add(numbers(self.model, self.optimizer))

    def parts(self):
        model, optimizer = self.model, self.optimizer
        held = model[2].weight.value
        other = cr.compile(model, cr.MSELoss(), cr.SGD(lr=0.1))
        yield lambda: self.network.step(X, Y)
        yield lambda: model[0].weight.value.sum()
        yield lambda: setattr(model[0].weight, "value", np.full((8, 2), 0.1))
        yield lambda: held.__setitem__(0, 0.5)
        yield lambda: self.network.step(X, Y)
        yield lambda: optimizer.state[model[0].weight]["exp_avg"].sum()
        yield lambda: self.network.step(X, Y)
        yield lambda: model.load_state_dict({name: v * 0.5 for name, v in model.state_dict().items()})
        yield lambda: other.step(X, Y)
        yield lambda: self.network.step(X, Y)
        yield lambda: optimizer.load_state_dict(model.param(), optimizer.state_dict(model.param()))
        yield lambda: self.network.step(X, Y)


def test_a_loop_of_ones_own_loses_nothing():
    reference = Steps()
    reference.note()
    for part in reference.parts():
        part()
        reference.note()

    def program(run):
        for part in run.parts():
            part()

    for moment in moments(lambda: program(Steps())):
        run = Steps()
        interrupted(lambda run=run: program(run), moment)
        assert numbers(run.model, run.optimizer) in reference.states, moment
        run.network.step(X, Y)  # and it goes on
        assert all(np.isfinite(parameter.value).all() for parameter in run.model.param())


@pytest.mark.parametrize("rule", [lambda: cr.SGD(lr=0.1), lambda: cr.Adam(lr=0.01)])
def test_fit_leaves_the_numbers_of_a_finished_slice(rule):
    def program(model, optimizer, seen=None):
        def look(run):
            run.model[0].weight.value *= 0.5
            if seen is not None:
                seen.append(run.history)

        options = {"batch_size": 3, "engine": "native", "keep": "last", "callbacks": [look]}
        cr.fit(model, cr.MSELoss(), (X, Y), epochs=3, optimizer=optimizer, validation=(X, Y), **options)

    states = set()

    def note(run):
        states.add(numbers(run.model, run.optimizer))
        run.model[0].weight.value *= 0.5
        states.add(numbers(run.model, run.optimizer))

    model, optimizer = small_network(), rule()
    states.add(numbers(model, optimizer))
    cr.fit(
        model, cr.MSELoss(), (X, Y), epochs=3, batch_size=3, engine="native", keep="last", optimizer=optimizer,
        validation=(X, Y), callbacks=[note],
    )  # fmt: skip
    for moment in moments(lambda: program(small_network(), rule())):
        model, optimizer, seen = small_network(), rule(), []
        interrupted(lambda model=model, optimizer=optimizer, seen=seen: program(model, optimizer, seen), moment)
        assert numbers(model, optimizer) in states, moment
        for history in seen[-1:]:
            columns = (history.losses, history.validation_losses, history.learning_rates, history.epoch_s)
            assert len({len(column) for column in columns}) == 1
        program(model, optimizer)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler  # and Ctrl-C is Python's again


@pytest.mark.parametrize("engine", ["native", "python"])
def test_fit_leaves_the_best_parameters_whole(engine):
    """With what a callback has set, or without it."""
    options = {"epochs": 3, "batch_size": 3, "engine": engine, "keep": "best"}

    def halve(run):
        weights = [layer.weight.value for layer in (run.model[0], run.model[2])]
        for weight in weights:
            weight *= 0.5

    def program(model, callbacks):
        cr.fit(model, cr.MSELoss(), (X, Y), optimizer=cr.SGD(lr=0.1), callbacks=callbacks, **options)

    states = set()

    def note(run):
        states.add(numbers(run.model, run.optimizer)[0])
        halve(run)
        states.add(numbers(run.model, run.optimizer)[0])

    program(small_network(), [note])
    for moment in moments(lambda: program(small_network(), [halve])):
        model, seen = small_network(), []
        callbacks = [lambda run, seen=seen: seen.append(run), halve]
        interrupted(lambda model=model, callbacks=callbacks: program(model, callbacks), moment)
        if seen:  # an epoch was over
            assert numbers(model, cr.SGD(lr=0.1))[0] in states, moment


def test_train_torch_gives_back_all_or_nothing():
    torch = pytest.importorskip("torch")
    start = cr.to_torch(small_network()).state_dict()
    data = torch.utils.data.TensorDataset(torch.from_numpy(X), torch.from_numpy(Y))

    def made():
        module = cr.to_torch(small_network())
        module.load_state_dict(start)
        return module, torch.optim.Adam(module.parameters(), lr=0.01)

    def program(module, optimizer):
        cr.train_torch(module, torch.nn.MSELoss(), data, optimizer=optimizer, epochs=2, batch_size=3)

    def found(module, optimizer):
        state = optimizer.state_dict()["state"]
        moments = tuple((k, name, value.numpy().tobytes()) for k, kept in state.items() for name, value in kept.items())
        return tuple(value.numpy().tobytes() for value in module.state_dict().values()), moments

    module, optimizer = made()
    states = {found(module, optimizer)}
    program(module, optimizer)
    states.add(found(module, optimizer))
    assert len(states) == 2
    for moment in moments(lambda: program(*made())):
        module, optimizer = made()
        interrupted(lambda module=module, optimizer=optimizer: program(module, optimizer), moment)
        assert found(module, optimizer) in states, moment
        assert torch.is_grad_enabled()


def test_fit_many_ends_at_once_and_leaves_no_thread():
    models = []

    def build(seed):
        models.append(small_network())
        return models[-1]

    def program():
        models.clear()
        cr.fit_many(build, cr.MSELoss(), (X, Y), epochs=3, batch_size=3, optimizer=cr.Adam(), seeds=3, threads=2)

    begun = threading.active_count()
    for moment in moments(program)[::2]:
        interrupted(program, moment)
        for model in models:
            assert all(np.isfinite(parameter.value).all() for parameter in model.param()), moment
            assert not any(module.training is False for module in model.modules())
    assert threading.active_count() == begun
    program()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler  # Ctrl-C is not in a dead watch's hands


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="this system has no such clock")
def test_signals_at_random_moments_lose_nothing():
    """The same with a real signal, which also comes while the engine works."""
    reference = Steps()
    reference.note()
    for part in reference.parts():
        part()
        reference.note()
    drawn, hits = random.Random(0), 0

    def handler(number, frame):
        raise Interrupt

    before = signal.signal(signal.SIGALRM, handler)
    gc.disable()  # an exception in somebody's gc.callbacks would be lost
    try:
        for _ in range(4 * MOMENTS):
            run, part = Steps(), None  # a part keeps its run, whose end would swallow an exception
            try:
                signal.setitimer(signal.ITIMER_REAL, drawn.uniform(2e-5, 8e-4))
                for part in run.parts():
                    part()
                signal.setitimer(signal.ITIMER_REAL, 0)
            except Interrupt:
                hits += 1
            assert numbers(run.model, run.optimizer) in reference.states
            run.network.step(X, Y)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        gc.enable()
    assert hits > 0
