//! The embedded default store on disk, over redb.
