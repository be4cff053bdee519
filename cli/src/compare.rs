//! One program at several word widths, side by side.

pub mod lockstep;
pub mod measure;
pub mod plot;
pub mod search;
pub mod subject;
pub mod sweep;
