//! Versions whose journal does not fit one row.

use std::ops::Bound;
use std::sync::Arc;

use dotdb::{Database, Direction, Durability, History, Mode, Place, Settings, ValueKind};
use dotdb_memory::MemoryStore;

#[test]
fn a_version_of_many_megabytes_is_read_compared_and_restored() {
    const RECORDS: u8 = 12;
    const BYTES: usize = 700_000;
    let store = Arc::new(MemoryStore::new());
    let settings = Settings { history: History::All, ..Settings::default() };
    let database = Database::open_or_create(store, settings).unwrap();
    for round in 0..4u8 {
        let mut tx = database.begin(Mode::ReadWrite).unwrap();
        let contract = tx.contract_id("c").unwrap();
        let records = tx.collection(contract, "r", ValueKind::Bytes).unwrap();
        for key in 0..RECORDS {
            if (key + round) % 4 == 0 {
                tx.delete(records, &[key]).unwrap();
            } else {
                tx.put(records, &[key], vec![round * 16 + key; BYTES]).unwrap();
            }
        }
        tx.commit(Durability::None).unwrap();
    }
    for settled in [false, true] {
        if settled {
            database.settle().unwrap();
        }
        for version in 1..=4u8 {
            let round = version - 1;
            let mut tx = database.begin_at(u64::from(version)).unwrap();
            let contract = tx.contract_id("c").unwrap();
            let records = tx.collection(contract, "r", ValueKind::Bytes).unwrap();
            let cursor = tx.scan(records, Bound::Unbounded, Bound::Unbounded, Direction::Backward).unwrap();
            for key in (0..RECORDS).rev().filter(|key| (key + round) % 4 != 0) {
                let (found, value) = tx.next(cursor).unwrap().unwrap();
                assert_eq!((&found[..], value.len()), (&[key][..], BYTES));
                assert!(value.iter().all(|&byte| byte == round * 16 + key));
            }
            assert_eq!(tx.next(cursor).unwrap(), None);
        }
        let differences = database.diff(3, 4).unwrap();
        let records =
            differences.iter().filter(|difference| matches!(difference.place(), Place::Record { .. }));
        assert_eq!(records.count(), usize::from(RECORDS));
        assert_eq!(database.commits(0).unwrap().count(), 4);
    }
    assert_eq!(database.restore(2, Durability::None).unwrap(), 5);
    let rows = |version| database.rows_at(version).unwrap().map(|row| row.unwrap()).collect::<Vec<_>>();
    assert!(rows(2) == rows(5) && rows(2) != rows(4));
}
