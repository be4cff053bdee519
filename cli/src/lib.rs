//! The dotvm command line.
