"""ecluse: suspend exactly the announced services of a debtor, prove the rest kept flowing, restore at once."""

__version__ = "0.1.0"
