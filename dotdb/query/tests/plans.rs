//! What plans give is what looking at every record gives.

mod support;

use dotdb_query::Query;
use proptest::prelude::*;

use support::choose::{self, Choices};
use support::memory::Memory;

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, ..ProptestConfig::default() })]

    #[test]
    fn planned_is_naive(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        let mut choices = Choices::new(&bytes);
        let queries: Vec<_> = (0..3).map(|_| choose::query(&mut choices)).collect();
        let indexes = choose::indexes(&mut choices);
        let mut memory = Memory::new(choose::records(&mut choices), &indexes);
        for (text, parameters) in queries {
            let query = Query::parse(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
            prop_assert_eq!(&Query::parse(&query.to_string()).unwrap(), &query);
            prop_assert_eq!(&Query::from_bytes(&query.to_bytes()).unwrap(), &query);
            support::check(&mut memory, &indexes, &query, &parameters);
        }
    }
}
