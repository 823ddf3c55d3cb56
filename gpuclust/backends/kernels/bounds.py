"""Bounds that a row keeps, counted from when they were made: what has moved since is looked up, not written.

A kept upper bound is the bound less `own`, the way of the row's centre so far; a kept lower bound is the bound plus the
way of the centres that it is of (`other`, or their group's). The bounds of now are had by undoing that with the ways of
now. Ways are float32, rounded to nearest: what is written takes a way rounded down, what is read one rounded up.
"""

import numpy as np
from numba import njit

from .direct import distance_estimate

INF = np.float32(np.inf)
FAR = np.float32(2.0**62)  # rows of a fit lie within 2^60; a centre whose score is not finite is farther away than this
UP, DOWN = np.float32(1 + 2**-20), np.float32(1 - 2**-20)  # outward rounding of float32 bounds


@njit
def since_upper(bound, way):
    """An upper bound as it is kept."""
    kept = bound - way * DOWN
    return kept + abs(kept) * np.float32(2**-22)


@njit
def since_lower(bound, way):
    """A lower bound as it is kept."""
    return (bound + way * DOWN) * DOWN


@njit
def now_lower(kept, way):
    bound = kept - way * UP
    return bound * DOWN if bound > 0 else np.float32(0)


@njit
def all_rows(start, stop, active, tight):
    """Every row of a window, without bounds."""
    for i in range(start, stop):
        active[i - start] = i
        tight[i - start] = INF
    return stop - start


@njit
def unsettled(start, stop, label, upper, lower, apart, active, open_):
    """active[:count] <- rows of a window whose bounds, as they are kept, do not settle the label."""
    own, above, below = label[start:stop], upper[start:stop], lower[start:stop]
    for s in range(own.shape[0]):  # vectorised: most rows are settled
        open_[s] = not below[s] - above[s] > apart[np.uint32(own[s])]
    count = 0
    for s in range(own.shape[0]):
        if open_[s]:
            active[count] = start + s
            count += 1
    return count


@njit
def least_lower(lowers, i, group):
    """Lower bound of the distance to any other centre, from those to the groups."""
    least = INF
    for g in range(group.shape[0]):
        least = min(least, now_lower(lowers[i, g], group[g]))
    return least


@njit
def survivors(X, count, label, upper, lower, lowers, cen, l1, active, tight):
    """Make the upper bounds of active[:count] tight; keep the rows that this does not settle, and tight[:left]."""
    grouped, left = cen.group.shape[0] > 1, 0
    for s in range(count):
        i = active[s]
        a = label[i]
        bound = np.float32(distance_estimate(X, i, cen.centers, a, l1) * cen.scale) * UP
        least = least_lower(lowers, i, cen.group) if grouped else now_lower(lower[i], cen.other[a])
        if bound * UP < least:
            upper[i] = since_upper(bound, cen.own[a])
            if grouped:
                lower[i] = since_lower(least, cen.other[a])
        else:
            active[left], tight[left] = i, bound
            left += 1
    return left
