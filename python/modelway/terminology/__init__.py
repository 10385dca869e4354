"""The words that people are shown: warnings, what a change of model is called, what models are called.

They stand in catalogues, one a language, and a file of the user's goes before them. Several languages at once stand
beside each other, each sentence in all of them.
"""

from modelway.terminology.words import LANGUAGES, Words, load_words

__all__ = ["LANGUAGES", "Words", "load_words"]
