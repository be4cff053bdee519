//! A slow and obvious interpreter: the oracle of the fast one.
