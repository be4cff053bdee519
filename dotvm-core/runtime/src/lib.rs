//! Programs and contracts run against DotDB: one execution, one transaction.
