//! The programs under `examples/`, run at every width they are for and on every store, against values computed in
//! another way.

mod examples {
    pub mod contracts;
    pub mod ledger;
    pub mod registry;
    pub mod widths;
}
