"""All mutations."""

from .delta import DELTA
from .more import OTHERS
from .storage import STORAGE
from .walk import WALK

MUTATIONS = (*WALK, *STORAGE, *DELTA, *OTHERS)
