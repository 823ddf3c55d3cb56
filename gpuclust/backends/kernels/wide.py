"""Rows of many features, scored as they lie: four rows against three centres, one vector of features at a time.

Tiles of 16 rows want the rows transposed, which for wide rows takes longer than it saves.
"""

from numba import njit

from .bounds import INF
from .margins import EXPANDED
from .pack import centre_quad, coming_row, padded, row_norms
from .tile import PANEL, QUAD, TRIALS, wide_dot


@njit
def _fold_quad(score, norms, j, at, one, two, best):
    """Fold the scores of centres j, j + 1, j + 2 and rows at .. at + 3 into the rows' best two."""
    for c in range(TRIALS):
        for q in range(QUAD):
            s, r = norms[j + c] + score[c * QUAD + q], at + q
            if s < one[r]:
                one[r], two[r], best[r] = s, one[r], j + c
            elif s < two[r]:
                two[r] = s


@njit
def score_wide(X, rows, m, cen, line, room, state):
    """Best two of all centres for rows of many features: four rows at a time, as they lie."""
    one, two, best, pitch = state.one, state.two, state.best, padded(X.shape[1])
    for at in range(0, m, QUAD):
        centre_quad(X, rows, at, m, cen.shift, cen.scale, line)
        one[at : at + QUAD], two[at : at + QUAD], best[at : at + QUAD] = INF, INF, 0
        row_norms(line[: QUAD * pitch].reshape(QUAD, pitch), QUAD, room.norm[at:], EXPANDED)
        for j in range(0, cen.norms.shape[0], TRIALS):
            ahead = coming_row(rows, at, m, j // TRIALS, X.shape[1])
            wide_dot(line, 0, pitch, 2 * pitch, 3 * pitch, cen.lines, j * pitch, pitch, room.score, 0, QUAD, X, ahead)
            _fold_quad(room.score, cen.norms, j, at, one, two, best)


@njit
def score_wide_group(line, chosen, m, cen, g, room, first, second, index):
    """Best two of one group for rows line[chosen[:m]] of many features; slot s of the results is row chosen[s]."""
    pitch, flat = line.shape[1], line.ravel()
    for s in range(0, m, QUAD):
        first[s : s + QUAD], second[s : s + QUAD], index[s : s + QUAD] = INF, INF, 0
        r0, r1 = chosen[s] * pitch, chosen[min(s + 1, m - 1)] * pitch
        r2, r3 = chosen[min(s + 2, m - 1)] * pitch, chosen[min(s + 3, m - 1)] * pitch
        for j in range(cen.group_start[g] * PANEL, cen.group_start[g + 1] * PANEL, TRIALS):
            wide_dot(flat, r0, r1, r2, r3, cen.lines, j * pitch, pitch, room.score, 0, QUAD, flat, r0)
            _fold_quad(room.score, cen.norms, j, s, first, second, index)
