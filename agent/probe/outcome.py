"""Floor 2. The one outcome of a look that is neither an answer nor silence."""


class Unable(Exception):
    """It can not be told from here; the text says why and what would mend it."""
