"""How far a score may be from the exact one, and what follows for labels and bounds."""

import numpy as np
from numba import njit

from .bounds import DOWN, FAR, INF, UP

EXPANDED, SQUARED, ABSOLUTE = range(3)  # forms of a score: |c|^2 - 2 x.c, sum (x - c)^2, sum |x - c| by maxima
TINY = np.float32(1e-25)  # above the errors of underflow and of `short.LEAST`; squares go up to 1e35


@njit
def _margin(diff, delta, xn, cn, dist):
    """Bound of |score - exact score| for a centre of norm cn at distance dist from a row of norm xn.

    Expanded form |c|^2 - 2 x.c + |x|^2: rounding x and c to float32, d fused steps and |x|^2 itself give at most
    (d + 8) 2^-24 (|x| + |c|)^2. Difference form: the inputs' rounding shifts the distance by eta = 2^-23 (|x| + |c|),
    the sum adds (d + 4) 2^-24 relative. `delta` holds the factor of the form in use, with 5% for its own rounding.
    """
    total = xn + cn
    eta = np.float32(1.3e-7) * total
    if diff:
        return delta * dist * dist + np.float32(2) * dist * eta + eta * eta + TINY
    return delta * total * total + TINY


@njit
def _least_abs(score, norm, delta):
    """Lower bound of a Manhattan distance t from its score s and the row's norm |x|; u = 2^-24.

    s = 2 (-sum c / 2 - sum x / 2 + sum max(x, c)). No partial sum exceeds (|x| + |c|) / 2, since max(x, c) = (x + c +
    |x - c|) / 2; so the d additions are off by d u (|x| + |c|), sum x by d u |x|, the start by 2 u (|x| + |c|), and
    rounding x and c to float32 by 2 u (|x| + |c|). With |c| <= |x| + t, |s - t| <= delta (3 |x| + t) for delta =
    (d + 5) u, to which 5% are added.
    """
    # no early return, which would cost the vectors
    shrink = np.float32(1) - delta if delta <= np.float32(0.5) else np.float32(0)
    return max((score - np.float32(3) * delta * norm - TINY) * shrink, np.float32(0)) * DOWN


@njit
def _most_abs(score, norm, delta):
    """Upper bound, likewise."""
    if delta > np.float32(0.5):
        return INF
    return (score + np.float32(3) * delta * norm + TINY) / (np.float32(1) - delta) * UP


@njit
def lower_bounds(m, form, delta, norm, score, low):
    """low [m] <- lower bounds of the distances to all centres whose score is at least score [m].

    With L = sqrt(score + |x|^2), a centre farther out than |x| + L is at least L away whatever its score's error; for
    the others `_margin` holds with norm |x| + L. Where there is no such centre, or its score overflowed, it is FAR.
    """
    if form == ABSOLUTE:
        for r in range(m):
            low[r] = _least_abs(score[r], norm[r], delta) if score[r] < INF else FAR
        return
    diff = form == SQUARED
    for r in range(m):
        xn = np.sqrt(norm[r])
        square = score[r] + (np.float32(0) if diff else norm[r])
        reach = np.sqrt(max(square, np.float32(0)))
        exact = square - _margin(diff, delta, xn, xn + reach, reach)
        bound = np.sqrt(max(exact, np.float32(0))) * DOWN
        low[r] = min(bound, FAR) if square < INF else FAR


@njit
def certify(m, form, delta, norm, one, two, slack, reach, clear):
    """Whether the best score is the nearest of the scored centres for sure; reach <- upper bound of its distance.

    The best score is too low by `slack` at most, and none is too high, up to the rounding that `_margin` bounds. The
    norm of the best centre is not looked up: |c| <= |x| + distance, and the distance is at most D + sqrt(delta) (|x| +
    |c|) with D the one that the score gives, so |c| <= (1 + s) / (1 - s) (|x| + D), s = sqrt(delta) (plus eta, far
    smaller). Manhattan distances: see `_least_abs`.
    """
    if form == ABSOLUTE:
        for r in range(m):
            most = _most_abs(one[r] + slack[r], norm[r], delta)
            clear[r] = most < FAR and _least_abs(two[r], norm[r], delta) > most
            reach[r] = most * UP
        return
    diff = form == SQUARED
    s = np.sqrt(delta) + np.float32(1e-6)
    inflate = (np.float32(1) + s) / (np.float32(1) - s)
    for r in range(m):
        xn, best = np.sqrt(norm[r]), one[r] + slack[r]
        square = max(best + (np.float32(0) if diff else norm[r]), np.float32(0))
        dist = np.sqrt(square)
        own = _margin(diff, delta, xn, inflate * (xn + dist), dist * inflate)
        far = np.sqrt(square + own)
        clear[r] = far < FAR and two[r] - best > own + _margin(diff, delta, xn, xn + far, far)
        reach[r] = far * UP
