"""JAX's batched solvers, in an environment of their own: ``python jax_solvers.py QUESTION ANSWER``.

Reads a batch from a file, solves it with L-BFGS of jaxopt, BFGS and L-BFGS of optimistix under
`jax.vmap`, and writes times and counts. The objectives are written out again in JAX, and compared
at the start with the values that came along.
"""

import json
import statistics
import sys
import time
from functools import partial
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import jaxopt
import numpy as np
import optimistix as optx

jax.config.update("jax_enable_x64", True)

TOLERANCES = (1e-3, 1e-6, 1e-9)
REPEATS = 5
MARGIN = 16 * np.finfo(np.float64).eps


def extended_rosenbrock(x, _):
    odd, even = x[0::2], x[1::2]
    return jnp.sum((10 * (even - odd**2)) ** 2 + (1 - odd) ** 2)


def chained_rosenbrock(x, _):
    return jnp.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


def extended_powell(x, _):
    a, b, c, d = (x[k::4] for k in range(4))
    return jnp.sum((a + 10 * b) ** 2 + 5 * (c - d) ** 2 + (b - 2 * c) ** 4 + 10 * (a - d) ** 4)


def logistic(x, data):
    features, labels, ridge = data
    return jnp.sum(jax.nn.softplus(-labels * (features @ x))) + ridge / 2 * jnp.sum(x * x)


FUNCTIONS = {
    "chained-rosenbrock": chained_rosenbrock,
    "rosenbrock": extended_rosenbrock,
    "extended-rosenbrock": extended_rosenbrock,
    "extended-powell": extended_powell,
    "logistic-regression": logistic,
}


def jaxopt_solver(fun):
    """First state, and ``state -> (state, value, evaluations)`` of one iteration."""
    solver = jaxopt.LBFGS(fun, maxiter=10**9, tol=0.0, history_size=10, jit=True)

    def first(x, data):
        return x, solver.init_state(x, data)

    def step(carry, data):
        x, state = solver.update(*carry, data)
        return x, state

    return first, step, lambda c: c[1].value, lambda c: c[1].num_fun_eval


def optimistix_solver(method, fun):
    """The same of optimistix, whose every step is one evaluation."""
    solver = method(rtol=0.0, atol=0.0)
    wrapped = lambda y, data: (fun(y, data), None)  # noqa: E731
    shape = jax.ShapeDtypeStruct((), jnp.float64)
    functions = []  # what a state holds beside arrays, which a loop cannot carry

    def first(x, data):
        state = solver.init(wrapped, x, data, {}, shape, None, frozenset())
        arrays, rest = eqx.partition(state, eqx.is_array)
        functions.append(rest)
        return x, arrays, jnp.zeros((), int)

    def step(carry, data):
        x, arrays, count = carry
        state = eqx.combine(arrays, functions[-1])
        x, state, _ = solver.step(wrapped, x, data, {}, state, frozenset())
        return x, eqx.filter(state, eqx.is_array), count + 1

    return first, step, lambda c: c[1].f_info.f, lambda c: c[2]


SOLVERS = {
    "jaxopt LBFGS": jaxopt_solver,
    "optimistix BFGS": partial(optimistix_solver, optx.BFGS),
    "optimistix LBFGS": partial(optimistix_solver, optx.LBFGS),
}


def solve(parts, fun, limit, x0, data, target):
    """Iterate every problem of the batch to its target; evaluations, reached, monotone."""
    first, step, value_of, count_of = parts

    def one(x, data, target):
        start = first(x, data)
        begin = fun(x, data)

        def unfinished(carry):
            _, value, count, _, rounds = carry
            return (value > target) & (count < limit) & (rounds < limit)

        def body(carry):
            inner, value, _, monotone, rounds = carry
            inner = step(inner, data)
            now = value_of(inner)
            fine = now <= value + MARGIN * jnp.abs(value)
            return inner, now, count_of(inner).astype(int), monotone & fine, rounds + 1

        carry = (start, begin, jnp.zeros((), int), jnp.ones((), bool), jnp.zeros((), int))
        _, value, count, monotone, _ = jax.lax.while_loop(unfinished, body, carry)
        return count, value <= target, monotone

    return jax.vmap(one)(x0, data, target)


def main(question, answer):
    asked = json.loads(Path(question).read_text())
    fun = FUNCTIONS[asked["family"]]
    x0 = jnp.asarray(asked["x0"])
    batch = len(x0)
    data = jnp.zeros(batch)
    if "features" in asked:
        features = jnp.broadcast_to(
            jnp.asarray(asked["features"]), (batch, *np.shape(asked["features"]))
        )
        data = (features, jnp.asarray(asked["labels"]), jnp.full(batch, asked["ridge"]))
    initial, optimum = jnp.asarray(asked["initial"]), jnp.asarray(asked["optimum"])
    np.testing.assert_allclose(jax.vmap(fun)(x0, data), initial, rtol=1e-12)
    results = {}
    for name, build in SOLVERS.items():
        run = jax.jit(partial(solve, build(fun), fun, asked["evaluations"]))
        summary = {"solved": [], "seconds": [], "evaluations": [], "measured": batch}
        for tolerance in asked.get("tolerances", TOLERANCES):
            target = optimum + tolerance * (initial - optimum)
            times = []
            for _ in range(1 + REPEATS):
                begin = time.perf_counter()
                counts, reached, monotone = jax.block_until_ready(run(x0, data, target))
                times.append(time.perf_counter() - begin)
            summary.setdefault("compilation", times[0])  # of the first call, with its run
            elapsed = statistics.median(times[1:])
            any_solved = bool(reached.any())
            summary["solved"].append(float(reached.mean()))
            summary["seconds"].append(elapsed if any_solved else None)
            summary["evaluations"].append(
                float(np.median(np.asarray(counts)[np.asarray(reached)])) if any_solved else None
            )
            summary["monotone"] = float(monotone.mean())
        results[name] = summary
    Path(answer).write_text(json.dumps(results))


if __name__ == "__main__":
    main(*sys.argv[1:])
