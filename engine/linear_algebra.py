"""Linear algebra on one thread: BLAS's threads wait for each other, and for the runtime's, longer than they compute.

The sums are then the same, to the last bit, on a machine with another number of cores.
"""

from __future__ import annotations

from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from threadpoolctl import ThreadpoolController


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute what is inside, or the function that is decorated, with one thread of BLAS; torch's are its own.

    Where another thread of the process has set a limit that still holds, that stays.
    """
    with _blas().limit(limits=1):
        yield


@cache
def _blas() -> ThreadpoolController:
    """Return the libraries of BLAS that are loaded: NumPy's is, those that come later do little."""
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController().select(user_api="blas")
