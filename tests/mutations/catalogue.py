"""All mutations."""

from .more import OTHERS
from .storage import STORAGE
from .walk import WALK

MUTATIONS = (*WALK, *STORAGE, *OTHERS)
