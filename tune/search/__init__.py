"""Searches: plan, methods, results, and the final test.

Calling the package, ``tune.search(config, space)``, runs a search; see `tune.search.search_call`.
"""

from preprocess.lazy_exports import make_callable

make_callable(__name__, "tune.search.search_call", "search")
