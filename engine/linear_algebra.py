"""Linear algebra on one thread, as the models have the cores.

After a product the threads of NumPy's OpenBLAS look for more work for some 25 ms, and what runs meanwhile, in ONNX
Runtime or torch, takes up to three times as long. On one thread sums are also the same, to the last bit, on a machine
with another number of cores.
"""

from __future__ import annotations

import sys
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from threadpoolctl import LibController

OF_NUMPY = "libscipy_openblas"  # and of SciPy; a library of another name may be torch's too
OF_SCIPY = "scipy.linalg"  # the module that loads SciPy's own


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute what is inside, or the function that is decorated, with one thread of NumPy's BLAS.

    Where another thread of the process has set a limit that still holds, that stays.
    """
    before = [(library, library.get_num_threads()) for library in _openblas(has_scipy=OF_SCIPY in sys.modules)]
    try:
        for library, threads in before:
            if threads != 1:
                library.set_num_threads(1)
        yield
    finally:
        for library, threads in before:
            if threads != 1:
                library.set_num_threads(threads)


@cache
def _openblas(*, has_scipy: bool) -> list[LibController]:  # noqa: ARG001 - looked for again when SciPy's is there
    """Return the libraries that are loaded by now."""
    from threadpoolctl import ThreadpoolController

    found: list[LibController] = ThreadpoolController().select(prefix=OF_NUMPY).lib_controllers
    return found
