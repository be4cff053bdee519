//! The `.dotvm` file format: round trips, damaged files, every refusal, and the description in the manual.

mod arbitrary;
mod description;
mod envelope;
mod limits;
mod mutations;
mod refusals;
mod round_trip;
mod samples;
mod seeds;
