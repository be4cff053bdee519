//! Contracts with state, on every store, with restarts in between, against models in plain Rust.

use std::collections::BTreeMap;

use bytes::Bytes;
use dotvm_arch::{W512, Width};
use dotvm_core::outcome::Ref;
use dotvm_runtime::Event;
use fastrand::Rng;
use sha3::{Digest, Keccak256};

use super::ledger::{Ledger, refs, words};

fn word(number: u64) -> W512 {
    W512::from(number)
}

fn max_256() -> W512 {
    W512::MAX >> 256
}

/// 32 bytes, big-endian.
fn bytes32(number: W512) -> [u8; 32] {
    number.to_be_bytes::<64>()[32..].try_into().unwrap()
}

/// The slot of a mapping's entry, as Solidity lays it out.
fn mapping(entry: W512, mapping: [u8; 32]) -> [u8; 32] {
    Keccak256::new().chain_update(bytes32(entry)).chain_update(mapping).finalize().into()
}

fn topic(signature: &str) -> W512 {
    W512::try_from_be_slice(&Keccak256::digest(signature)).unwrap()
}

fn event(signature: &str, topics: [u64; 2], amount: W512) -> Event {
    Event {
        topics: vec![topic(signature), word(topics[0]), word(topics[1])],
        data: Bytes::copy_from_slice(&bytes32(amount)),
    }
}

const TRANSFER: &str = "Transfer(address,address,uint256)";
const APPROVAL: &str = "Approval(address,address,uint256)";

/// A token as ERC-20 describes it.
#[derive(Default)]
struct Token {
    owner: Option<u64>,
    total: W512,
    balances: BTreeMap<u64, W512>,
    allowances: BTreeMap<(u64, u64), W512>,
}

impl Token {
    fn balance(&self, account: u64) -> W512 {
        self.balances.get(&account).copied().unwrap_or_default()
    }

    fn mint(&mut self, caller: u64, to: u64, amount: W512) -> Result<Event, &'static str> {
        if self.owner.is_some_and(|owner| owner != caller) {
            return Err("exception 1: only the owner mints");
        }
        // 512-bit sums of 256-bit numbers do not wrap.
        if self.total + amount > max_256() {
            return Err("exception 4: the total supply would not fit 256 bits");
        }
        self.owner = Some(caller);
        self.total += amount;
        *self.balances.entry(to).or_default() += amount;
        Ok(event(TRANSFER, [0, to], amount))
    }

    fn transfer(&mut self, from: u64, to: u64, amount: W512) -> Result<Event, &'static str> {
        if self.balance(from) < amount {
            return Err("exception 2: balance too low");
        }
        *self.balances.entry(from).or_default() -= amount;
        *self.balances.entry(to).or_default() += amount;
        Ok(event(TRANSFER, [from, to], amount))
    }

    fn approve(&mut self, caller: u64, spender: u64, amount: W512) -> Result<Event, &'static str> {
        self.allowances.insert((caller, spender), amount);
        Ok(event(APPROVAL, [caller, spender], amount))
    }

    fn transfer_from(
        &mut self,
        caller: u64,
        from: u64,
        to: u64,
        amount: W512,
    ) -> Result<Event, &'static str> {
        let allowed = self.allowances.get(&(from, caller)).copied().unwrap_or_default();
        if allowed < amount {
            return Err("exception 3: allowance too low");
        }
        let event = self.transfer(from, to, amount)?;
        if allowed != max_256() {
            self.allowances.insert((from, caller), allowed - amount);
        }
        Ok(event)
    }
}

#[test]
fn the_token_keeps_its_books_like_the_model() {
    for mut ledger in Ledger::of_each_kind("token", Width::W256) {
        let mut model = Token::default();
        let mut rng = Rng::with_seed(20);
        let (mut kept, mut refused) = (0, BTreeMap::<&str, u32>::new());
        for round in 0..800 {
            if round % 100 == 50 {
                ledger.restart();
            }
            let [mut caller, from, to] = std::array::from_fn(|_| rng.u64(0..5));
            let kind = rng.u8(..8);
            if kind == 0 && rng.u8(..4) > 0 {
                caller = model.owner.unwrap_or(caller);
            }
            let amount = match rng.u8(..16) {
                // The first minting is small, so that it leaves something to mint.
                0 if model.owner.is_some() => max_256() - word(rng.u64(..2)),
                // Late, because the supply is full then.
                1 if round > 500 => max_256() - model.total,
                2 => model.balance(from),
                3 => model.balance(from) + word(1),
                4 => word(0),
                _ => word(rng.u64(0..200)),
            };
            let amount = amount.min(max_256());
            let arguments = [from, to].map(|account| account.to_string());
            let [from_text, to_text] = [&arguments[0][..], &arguments[1][..]];
            let amount_text = amount.to_string();
            let (expected, function, arguments) = match kind {
                0 => (model.mint(caller, to, amount), "mint", vec![to_text, &amount_text]),
                1 => (model.approve(caller, to, amount), "approve", vec![to_text, &amount_text]),
                2..5 => (
                    model.transfer_from(caller, from, to, amount),
                    "transferFrom",
                    vec![from_text, to_text, &amount_text],
                ),
                _ => (model.transfer(caller, to, amount), "transfer", vec![to_text, &amount_text]),
            };
            match expected {
                Ok(event) => {
                    let execution = ledger.execute(word(caller), word(0), function, &arguments);
                    assert!(execution.committed, "{function}{arguments:?}: {:?}", execution.outcome.end);
                    assert_eq!(execution.events, [event]);
                    kept += 1;
                }
                Err(detail) => {
                    assert_eq!(ledger.exception(caller, 0, function, &arguments), detail);
                    *refused.entry(detail).or_default() += 1;
                }
            }
        }
        assert!(kept > 100 && refused.len() == 4, "{kept} {refused:?}");

        ledger.restart();
        assert_eq!(ledger.words(9, 0, "totalSupply", &[]), [model.total]);
        assert_eq!(model.balances.values().fold(word(0), |sum, balance| sum + balance), model.total);
        for account in 0..5 {
            let text = account.to_string();
            assert_eq!(ledger.words(9, 0, "balanceOf", &[&text]), [model.balance(account)]);
            assert_eq!(ledger.slot(&mapping(word(account), bytes32(word(3)))), model.balance(account));
            for spender in 0..5 {
                let allowed = model.allowances.get(&(account, spender)).copied().unwrap_or_default();
                assert_eq!(ledger.words(9, 0, "allowance", &[&text, &spender.to_string()]), [allowed]);
                let slot = mapping(word(spender), mapping(word(account), bytes32(word(4))));
                assert_eq!(ledger.slot(&slot), allowed);
            }
        }
        assert_eq!(ledger.slot(&[]), word(1));
        assert_eq!(Some(ledger.slot(&[1])), model.owner.map(word));
        assert_eq!(ledger.slot(&[2]), model.total);
    }
}

#[test]
fn an_overdraft_changes_nothing() {
    for mut ledger in Ledger::of_each_kind("token", Width::W256) {
        ledger.words(0, 0, "mint", &["1", "1000"]);
        ledger.restart();
        assert_eq!(ledger.exception(1, 0, "transfer", &["2", "1001"]), "exception 2: balance too low");
        assert_eq!(ledger.exception(2, 0, "transfer", &["1", "1"]), "exception 2: balance too low");
        // The allowance is used up before the balance is looked at, and that is undone too.
        ledger.words(1, 0, "approve", &["2", "5000"]);
        assert_eq!(
            ledger.exception(2, 0, "transferFrom", &["1", "2", "1001"]),
            "exception 2: balance too low"
        );
        ledger.restart();
        assert_eq!(ledger.words(0, 0, "allowance", &["1", "2"]), [word(5000)]);
        assert_eq!(ledger.words(0, 0, "balanceOf", &["1"]), [word(1000)]);
        // All of it is no overdraft.
        ledger.words(1, 0, "transfer", &["2", "1000"]);
        assert_eq!(ledger.words(0, 0, "balanceOf", &["2"]), [word(1000)]);
    }
}

fn bytes(data: &[u8]) -> Ref {
    Ref::Bytes(Bytes::copy_from_slice(data))
}

/// RFC 8949 deterministic encoding of the two documents of the example, by hand: keys by length, then bytewise.
const ALICE: &[u8] =
    b"\xa4\x63age\x18\x2a\x64name\x65Alice\x65email\x71alice@example.com\x65roles\x82\x65admin\x66author";
const BOB: &[u8] = b"\xa4\x63age\xf9\x50\xb0\x64name\x63Bob\x65email\xf6\x65roles\x80";

#[test]
fn documents_are_kept_at_every_width() {
    for width in Width::ALL {
        for mut ledger in Ledger::of_each_kind("documents", width) {
            let call = |ledger: &Ledger, function: &str, arguments: &[&str]| {
                let end = ledger.execute(word(0), word(0), function, arguments).outcome.end;
                (words(end.clone()), refs(end))
            };
            let list = |ledger: &Ledger, limit: &str, from: &str| {
                let (n, mut texts) = call(ledger, "list", &[limit, from]);
                (n[0], texts.remove(0), texts.remove(0))
            };
            assert_eq!(list(&ledger, "5", "null"), (word(0), bytes(b""), Ref::Null));
            assert_eq!(call(&ledger, "welcome", &[]).0, [word(0)]);
            assert_eq!(call(&ledger, "welcome", &[]).0, [word(2)]);
            ledger.restart();
            assert_eq!(call(&ledger, "get", &["alice"]), (vec![word(1)], vec![bytes(ALICE)]));
            assert_eq!(call(&ledger, "get", &["bob"]), (vec![word(1)], vec![bytes(BOB)]));
            assert_eq!(call(&ledger, "get", &["carol"]), (vec![word(0)], vec![Ref::Null]));
            // The CBOR of "hello", and of 1 to 3 under counter keys.
            assert_eq!(call(&ledger, "put", &["hello", "0x6568656c6c6f"]).0, [word(0)]);
            for n in 1u8..=3 {
                let key = [0, 0, 0, 0, 0, 0, 0, n];
                assert_eq!(call(&ledger, "add", &[&format!("0x{n:02x}")]).1, [bytes(&key)]);
            }
            assert_eq!(ledger.words(0, 0, "count", &[]), [word(6)]);

            let counter_key = |n: u8| [0, 0, 0, 0, 0, 0, 0, n, b' '];
            let first_page = [counter_key(1), counter_key(2), counter_key(3)].concat();
            assert_eq!(list(&ledger, "3", "null"), (word(3), bytes(&first_page), bytes(b"alice")));
            assert_eq!(list(&ledger, "2", "alice"), (word(2), bytes(b"alice bob "), bytes(b"hello")));
            assert_eq!(list(&ledger, "2", "hello"), (word(1), bytes(b"hello "), Ref::Null));
            assert_eq!(list(&ledger, "0", "b"), (word(0), bytes(b""), bytes(b"bob")));
            let too_many = ledger.exception(0, 0, "list", &["1001", "null"]);
            assert_eq!(too_many, "exception 1: a page has at most 1000 keys");

            assert_eq!(call(&ledger, "delete", &["alice"]).0, [word(1)]);
            assert_eq!(call(&ledger, "delete", &["alice"]).0, [word(0)]);
            // What is no document is refused, and nothing is changed.
            let before = ledger.contents();
            let execution = ledger.execute(word(0), word(0), "put", &["bad", "0xff"]);
            assert!(!execution.committed && ledger.contents() == before);
            ledger.restart();
            assert_eq!(ledger.words(0, 0, "count", &[]), [word(5)]);
            assert_eq!(list(&ledger, "9", "a"), (word(2), bytes(b"bob hello "), Ref::Null));
        }
    }
}

/// The events of a call as topics and text.
fn events(ledger: &Ledger, caller: u64, function: &str) -> Vec<(Vec<W512>, String)> {
    let execution = ledger.execute(word(caller), word(0), function, &[]);
    assert!(execution.committed);
    let text = |event: Event| (event.topics, String::from_utf8(event.data.to_vec()).unwrap());
    execution.events.into_iter().map(text).collect()
}

#[test]
fn an_auction_below_its_reserve_is_rolled_back_to_the_savepoint() {
    for mut ledger in Ledger::of_each_kind("auction", Width::W256) {
        let credits = |ledger: &Ledger| {
            [0, 1, 2, 3].map(|account: u64| ledger.words(9, 0, "credit_of", &[&account.to_string()])[0])
        };
        assert_eq!(ledger.exception(2, 5, "bid", &[]), "exception 1: no auction is open");
        ledger.words(1, 0, "open", &["950"]);
        assert_eq!(ledger.exception(2, 0, "open", &["1"]), "exception 2: an auction is open already");
        assert_eq!(
            ledger.exception(2, 0, "bid", &[]),
            "exception 3: the bid is not higher than the highest one"
        );
        ledger.words(2, 900, "bid", &[]);
        ledger.restart();
        assert_eq!(ledger.words(9, 0, "highest", &[]), [word(2), word(900)]);
        assert_eq!(
            ledger.exception(3, 900, "bid", &[]),
            "exception 3: the bid is not higher than the highest one"
        );
        ledger.words(3, 958, "bid", &[]);
        assert_eq!(credits(&ledger), [0, 0, 900, 0].map(word));
        assert_eq!(ledger.exception(3, 0, "close", &[]), "exception 4: only the seller closes the auction");

        // 1 % of 958 is 9, and 949 is below the reserve: not sold, and everything is given back.
        assert_eq!(events(&ledger, 1, "close"), [(vec![word(958)], "unsold".to_owned())]);
        ledger.restart();
        assert_eq!(credits(&ledger), [0, 0, 900, 958].map(word));
        assert_eq!(ledger.words(9, 0, "winner", &[]), [word(0), word(0)]);
        assert_eq!(ledger.exception(1, 0, "close", &[]), "exception 1: no auction is open");

        // 959 leaves 950: sold.
        ledger.words(1, 0, "open", &["950"]);
        ledger.words(3, 959, "bid", &[]);
        assert_eq!(events(&ledger, 1, "close"), [(vec![word(3), word(950), word(9)], "sold".to_owned())]);
        ledger.restart();
        assert_eq!(credits(&ledger), [9, 950, 900, 958].map(word));
        assert_eq!(ledger.words(9, 0, "winner", &[]), [word(1), word(3)]);

        // Nobody bids, and there is no reserve: not sold, nobody is paid.
        ledger.words(2, 0, "open", &["0"]);
        assert_eq!(ledger.words(2, 0, "close", &[]), [word(0)]);
        assert_eq!(credits(&ledger), [9, 950, 900, 958].map(word));
        assert_eq!(ledger.words(9, 0, "winner", &[]), [word(0), word(0)]);
    }
}
