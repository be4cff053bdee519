//! The registry: what an index changes, and what does not depend on the machine at all.

use dotdb::commitment::{Proof, Root};
use dotdb::query::IndexSpec;
use dotdb::{Mode, slot_key};
use dotvm_arch::{W512, Width};
use dotvm_core::outcome::Ref;

use super::ledger::{Ledger, refs, words};

fn word(number: u64) -> W512 {
    W512::from(number)
}

fn bytes(reference: &Ref) -> &[u8] {
    match reference {
        Ref::Bytes(bytes) => bytes,
        other => panic!("{other:?}"),
    }
}

fn hex(bytes: &[u8]) -> String {
    format!("0x{}", bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
}

/// A number as deterministic CBOR (RFC 8949 section 4.2.1), here below 2^16.
fn cbor(number: u16) -> Vec<u8> {
    match number {
        0..24 => vec![number as u8],
        24..256 => vec![0x18, number as u8],
        _ => [&[0x19][..], &number.to_be_bytes()].concat(),
    }
}

/// `{"owner": …, "price": …}`; both names have five letters and stand in this order.
fn offer(owner: u16, price: u16) -> Vec<u8> {
    [b"\xa2\x65owner", &cbor(owner)[..], b"\x65price", &cbor(price)[..]].concat()
}

/// An array of one number.
fn argument(number: u16) -> String {
    hex(&[&[0x81][..], &cbor(number)].concat())
}

/// How many cost at most so much, and the cheapest; the gas it took.
fn cheapest(ledger: &Ledger, price: u16) -> (W512, Ref, u64) {
    let outcome = ledger.execute(word(0), word(0), "cheapest", &[&argument(price)]).outcome;
    (words(outcome.end.clone())[0], refs(outcome.end).remove(0), outcome.gas_used)
}

#[test]
fn an_index_changes_the_cost_of_a_question_and_not_the_answer() {
    for mut ledger in Ledger::of_each_kind("registry", Width::W64) {
        // Prices 3, 10, 17 and so on to 1,396, all different, in another order than the names.
        let price = |name: u16| 3 + 7 * (name * 37 % 200);
        for name in 0..200u16 {
            let offer = hex(&offer(name % 9, price(name)));
            ledger.words(0, 0, "register", &[&format!("n{name:03}"), &offer]);
        }
        let mut without = Vec::new();
        for bound in [2, 3, 30, 700, 1400] {
            let least = (0..200).filter(|&name| price(name) <= bound).min_by_key(|&name| price(name));
            let (n, name, gas) = cheapest(&ledger, bound);
            assert_eq!(n, word((0..200).filter(|&name| price(name) <= bound).count() as u64));
            let expected = least.map_or(Ref::Null, |name| Ref::Bytes(format!("n{name:03}").into()));
            assert_eq!(name, expected, "at most {bound}");
            without.push((bound, n, name, gas));
        }
        for owner in 0..10u16 {
            let count = (0..200).filter(|name| name % 9 == owner).count() as u64;
            assert_eq!(ledger.words(0, 0, "offers_of", &[&argument(owner)]), [word(count)]);
        }

        let database = ledger.database();
        let mut tx = database.begin(Mode::ReadOnly).unwrap();
        let contract = tx.contract("registry").unwrap().unwrap().id;
        drop(tx);
        let spec = IndexSpec::parse("price").unwrap();
        database.create_index(contract, "names", "by_price", &spec, |_| ()).unwrap();
        drop(database);
        ledger.restart();
        for (bound, n, name, gas) in without {
            let with = cheapest(&ledger, bound);
            assert_eq!((with.0, with.1), (n, name), "at most {bound}");
            // Without the index counting and finding look at 200 records each, 20 gas for each at the least.
            assert!(gas >= 2 * 200 * 20);
            let rows = 2 * n.as_limbs()[0] + 2;
            if bound <= 30 {
                assert!(with.2 < 2_000 + rows * 200, "{} gas for {n} rows", with.2);
            }
        }
    }
}

#[test]
fn receipts_are_checked_by_the_contract_and_by_anybody_else() {
    for width in Width::ALL {
        for mut ledger in Ledger::of_each_kind("registry", width) {
            assert_eq!(ledger.words(0, 0, "open", &[]), [word(3)]);
            ledger.restart();
            let database = ledger.database();
            let version = database.version();
            let receipt = refs(ledger.execute(word(0), word(0), "receipt", &[]).outcome.end);
            let (root, proof) = (bytes(&receipt[0]), bytes(&receipt[1]));
            assert_eq!(root, database.state_root(version).unwrap().0);

            let mut tx = database.begin(Mode::ReadOnly).unwrap();
            let contract = tx.contract("registry").unwrap().unwrap().id;
            let shown = Proof::from_bytes(proof).unwrap().verify(&Root(root.try_into().unwrap())).unwrap();
            assert_eq!(shown.key, slot_key(contract, &[1]).unwrap());
            assert_eq!(shown.value.as_deref(), Some(&[3][..]));

            let check = |n: &str, root: &[u8]| {
                ledger.words(0, 0, "check", &[n, &hex(root), &hex(proof)]) == [word(1)]
            };
            assert!(check("3", root));
            assert!(!check("4", root) && !check("0", root) && !check("3", &[0; 32]));

            // The offer of a name, and that another is offered by nobody.
            for (name, expected) in [("ann", Some(offer(1, 200))), ("zoe", None)] {
                let receipt = refs(ledger.execute(word(0), word(0), "offer_receipt", &[name]).outcome.end);
                let root = Root(bytes(&receipt[0]).try_into().unwrap());
                let shown = Proof::from_bytes(bytes(&receipt[1])).unwrap().verify(&root).unwrap();
                assert!(shown.key.ends_with(name.as_bytes()));
                assert_eq!(shown.value.as_deref(), expected.as_deref());
            }
        }
    }
}

#[test]
fn earlier_versions_stay_readable() {
    for width in Width::ALL {
        for mut ledger in Ledger::of_each_kind("registry", width) {
            let deployed = ledger.database().version();
            ledger.words(0, 0, "open", &[]);
            assert_eq!(ledger.words(0, 0, "reprice_first", &[]), [word(1)]);
            assert_eq!(ledger.words(0, 0, "register", &["dan", &hex(&offer(4, 1000))]), [word(4)]);
            assert_eq!(ledger.words(0, 0, "register", &["dan", &hex(&offer(4, 999))]), [word(4)]);
            ledger.restart();
            assert_eq!(ledger.database().version(), deployed + 4);
            let at = |back: u64, name: &str| {
                let version = (deployed + back).to_string();
                let end = ledger.execute(word(0), word(0), "offer_at", &[&version, name]).outcome.end;
                (words(end.clone())[0], refs(end).remove(0))
            };
            let is = |offer: Vec<u8>| (word(1), Ref::Bytes(offer.into()));
            let nothing = (word(0), Ref::Null);
            assert_eq!(
                [0, 1, 2, 4].map(|back| at(back, "ann")),
                [nothing.clone(), is(offer(1, 200)), is(offer(1, 150)), is(offer(1, 150))]
            );
            assert_eq!(
                [2, 3, 4].map(|back| at(back, "dan")),
                [nothing, is(offer(4, 1000)), is(offer(4, 999))]
            );
            let registered = [0, 1, 2, 3, 4]
                .map(|back| ledger.words(0, 0, "registered_at", &[&(deployed + back).to_string()])[0]);
            assert_eq!(registered, [0, 3, 3, 4, 4].map(word));
        }
    }
}
