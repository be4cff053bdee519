//! Packed lanes inside a word.
