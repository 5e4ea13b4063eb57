"""Gives Opal's interpreter back the names that Python 3.10 took out of `collections`; Opal itself stays as it was released."""

import collections
import collections.abc

for name in ("Callable", "Iterable", "Mapping", "MutableMapping", "MutableSet", "Sequence", "Set"):
    setattr(collections, name, getattr(collections.abc, name))
