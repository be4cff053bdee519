//! What a run of Nock is served with: jets, kept products, registration, %slog.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use dotvm_core::gas;
use dotvm_core::trap::TrapKind;
use dotvm_core::value::Ref;
use dotvm_engine::{Answer, Charge, FormulaCall, Refusal, Served, Services};
use dotvm_heap::{Heap, Reference};
use dotvm_nock::{Helper, services as names};
use hashbrown::HashMap;

use crate::cold::{Cold, only_refusals};
use crate::jets::{Call, JETS, Miss, Next, Work};
use crate::memo::Memo;
use crate::{Jets, Settings, tank};

/// What is known of a run beside its product.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    /// Products that jets gave, by the jet's number in the table.
    pub products: Vec<u64>,
    /// Times that they left it to the formula.
    pub punts: Vec<u64>,
    /// Registered cores that were asked for.
    pub cores: Vec<(String, Ref)>,
    /// The jet whose product waits for that of its formula.
    pub compared: Option<&'static str>,
}

/// The notes of a run, which outlive its services.
pub(crate) type SharedNotes = Arc<Mutex<Notes>>;

/// Locks notes. A panic elsewhere does not make them wrong.
pub(crate) fn lock(notes: &SharedNotes) -> MutexGuard<'_, Notes> {
    notes.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How far a comparison is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comparison {
    /// There is none.
    None,
    /// The jet is to be called next.
    Begun,
    /// It was called.
    Called,
    /// It said that the formula crashes.
    Crashed,
}

/// The services of a run.
pub(crate) struct Server {
    settings: Settings,
    cold: Cold,
    memo: Memo,
    /// By the identity of a formula: the formula, and one that does the same but has no jet. Both are counted.
    aliases: HashMap<u64, (Reference, Reference)>,
    comparison: Comparison,
    /// The path of the jet that is compared, and how deep in Nock within Nock.
    compared: &'static str,
    level: u64,
    notes: SharedNotes,
}

impl Server {
    pub fn new(settings: Settings, max_memory: u64, notes: SharedNotes) -> Server {
        let counts = vec![0; JETS.len()];
        *lock(&notes) = Notes { products: counts.clone(), punts: counts, ..Notes::default() };
        Server {
            settings,
            cold: Cold::default(),
            memo: Memo::new(max_memory / 4),
            aliases: HashMap::new(),
            comparison: Comparison::None,
            compared: "",
            level: 0,
            notes,
        }
    }

    /// A formula that does what another does: `[7 [0 1] formula]`. Not counted.
    fn alias(&mut self, call: &mut Call<'_>, formula: &Reference) -> Result<Reference, Miss> {
        if let Some((_, alias)) = self.aliases.get(&formula.identity()) {
            return Ok(alias.alias());
        }
        let kept = call.share(formula);
        let inner = call.share(formula);
        let (zero, one, seven) = (Call::nil(), call.atom_of(1)?, call.atom_of(7)?);
        let subject = call.cons(zero, one)?;
        let rest = call.cons(subject, inner)?;
        let alias = call.cons(seven, rest)?;
        self.aliases.insert(formula.identity(), (kept, alias.alias()));
        Ok(alias)
    }

    /// The state of a jet behind a step.
    fn state(
        &mut self,
        call: &mut Call<'_>,
        jet: usize,
        next: Result<Next, Miss>,
    ) -> Result<Reference, Miss> {
        let (core, formula, rest) = match next {
            Ok(Next::Done(product)) => {
                lock(&self.notes).products[jet] += 1;
                return call.cons(Call::nil(), product);
            }
            Ok(Next::Slam { core, formula, kept }) => {
                let own = call.core.alias();
                let own = call.share(&own);
                let rest = call.cons(own, kept)?;
                let jet = call.atom_of(jet as u64)?;
                (core, formula, call.cons(jet, rest)?)
            }
            Ok(Next::Goto { core, formula }) => {
                lock(&self.notes).products[jet] += 1;
                (core, formula, Call::nil())
            }
            Err(Miss::Punt) => {
                lock(&self.notes).punts[jet] += 1;
                let core = call.core.alias();
                let (formula, _) = call.pair(&core)?;
                let alias = self.alias(call, &formula)?;
                (call.share(&core), call.share(&alias), Call::nil())
            }
            Err(miss) => return Err(miss),
        };
        let pair = call.cons(core, formula)?;
        call.cons(pair, rest)
    }

    /// A jet goes on with what it asked for.
    fn step(
        &mut self,
        call: &mut Call<'_>,
        jet: usize,
        result: &Reference,
        kept: &Reference,
    ) -> Result<Reference, Miss> {
        let next = match JETS[jet].work {
            Work::Steps(step) => (step.resume)(call, result, kept),
            Work::Memo => {
                let core = call.core.alias();
                let (formula, _) = call.pair(&core)?;
                self.memo.keep(call, &core, &formula, result)?;
                Ok(Next::Done(call.share(result)))
            }
            Work::Now(_) | Work::Mink | Work::Attempt => Err(Miss::Punt),
        };
        self.state(call, jet, next)
    }

    /// What becomes of a call that has a jet.
    fn answer(&mut self, call: &mut Call<'_>, formula: &Reference, jet: usize) -> Result<Answer, Miss> {
        call.pay(gas::NODE)?;
        let is_pure = matches!(JETS[jet].work, Work::Now(_) | Work::Steps(_));
        let compares = self.settings.jets == Jets::Compare;
        if compares && matches!(JETS[jet].work, Work::Memo) {
            return Ok(Answer::Formula);
        }
        if compares && is_pure && self.comparison == Comparison::None {
            self.compared = JETS[jet].path;
            return Ok(Answer::Through(Helper::Compare as u32, call.share(formula)));
        }
        let is_compared = is_pure && self.comparison == Comparison::Begun;
        if is_compared {
            self.comparison = Comparison::Called;
        }
        let product = match JETS[jet].work {
            Work::Now(work) => work(call),
            Work::Steps(step) => match (step.begin)(call) {
                Ok(Next::Done(product)) => Ok(product),
                Err(miss) => Err(miss),
                next => {
                    let state = self.state(call, jet, next)?;
                    return Ok(Answer::Through(Helper::Drive as u32, state));
                }
            },
            Work::Memo => {
                let core = call.core.alias();
                match self.memo.recall(call, &core, formula)? {
                    Some(product) => Ok(call.share(&product)),
                    None => {
                        let alias = self.alias(call, formula)?;
                        let formula = call.share(&alias);
                        let core = call.share(&core);
                        let next = Ok(Next::Slam { core, formula, kept: Call::nil() });
                        let state = self.state(call, jet, next)?;
                        return Ok(Answer::Through(Helper::Drive as u32, state));
                    }
                }
            }
            Work::Mink => {
                if call.slot(call.core, 25).is_err() {
                    return Ok(Answer::Formula);
                }
                lock(&self.notes).products[jet] += 1;
                return Ok(Answer::Through(Helper::Mink as u32, Call::nil()));
            }
            Work::Attempt => {
                if call.slot(call.core, 12).is_err() {
                    return Ok(Answer::Formula);
                }
                let alias = self.alias(call, formula)?;
                lock(&self.notes).products[jet] += 1;
                return Ok(Answer::Through(Helper::Attempt as u32, call.share(&alias)));
            }
        };
        match product {
            Ok(product) => {
                lock(&self.notes).products[jet] += 1;
                Ok(Answer::Product(product))
            }
            Err(Miss::Crash) if is_compared => {
                self.comparison = Comparison::Crashed;
                Ok(Answer::Formula)
            }
            Err(Miss::Punt) => {
                lock(&self.notes).punts[jet] += 1;
                Ok(Answer::Formula)
            }
            Err(miss) => Err(miss),
        }
    }

    /// The same for a marked formula: what may crash is left to it, for the trace.
    fn marked_answer(
        &mut self,
        call: &mut Call<'_>,
        formula: &Reference,
        jet: usize,
    ) -> Result<Answer, Miss> {
        call.pay(gas::NODE)?;
        let product = match JETS[jet].work {
            Work::Now(work) => work(call),
            Work::Memo => {
                let core = call.core.alias();
                let product = self.memo.recall(call, &core, formula)?;
                product.map(|product| call.share(&product)).ok_or(Miss::Punt)
            }
            Work::Mink => return self.answer(call, formula, jet),
            Work::Steps(_) | Work::Attempt => Err(Miss::Punt),
        };
        match product {
            Ok(product) => Ok(Answer::Product(product)),
            Err(Miss::Punt | Miss::Crash) => Ok(Answer::Formula),
            Err(miss) => Err(miss),
        }
    }

    fn ask(&mut self, name: &[u8], call: &mut Call<'_>) -> Result<(Reference, bool), Miss> {
        let subject = call.core.alias();
        call.pay(gas::NODE)?;
        let answer = match name {
            names::STEP => {
                let (result, rest) = call.pair(&subject)?;
                let [jet, core, kept] = call.three(&rest)?;
                let jet = call.number(&jet)? as usize;
                let mut inner = Call { heap: call.heap, core: &core, charge: call.charge };
                self.step(&mut inner, jet, &result, &kept)?
            }
            names::RECALL => {
                let (subject, formula) = call.pair(&subject)?;
                match self.memo.recall(call, &subject, &formula)? {
                    Some(product) => {
                        let product = call.share(&product);
                        call.cons(Call::nil(), product)?
                    }
                    None => Call::nil(),
                }
            }
            names::KEEP => {
                let (key, product) = call.pair(&subject)?;
                let (subject, formula) = call.pair(&key)?;
                self.memo.keep(call, &subject, &formula, &product)?;
                Call::nil()
            }
            names::SLOG => {
                if let (Some(print), Some(tank)) = (&self.settings.print, call.heap.tail(&subject)) {
                    print(&tank::line(call.heap, tank));
                }
                Call::nil()
            }
            names::FAST => {
                let (core, clue) = call.pair(&subject)?;
                let mut inner = Call { heap: call.heap, core: &core, charge: call.charge };
                let known = self.cold.paths().len();
                let is_new = only_refusals(self.cold.register(&mut inner, &clue)).map_err(Miss::Refused)?;
                if let Some(path) = self.cold.paths().nth(known)
                    && self.settings.cores.iter().any(|wanted| wanted == path)
                {
                    let core = inner.heap.export(&core);
                    lock(&self.notes).cores.push((path.to_owned(), core));
                }
                return Ok((Call::nil(), is_new));
            }
            names::COMPARE => {
                self.comparison = Comparison::Begun;
                self.level = level(call, &subject);
                Call::nil()
            }
            names::CAUGHT => {
                // What was compared within is over.
                if self.comparison != Comparison::None && self.level >= level(call, &subject) {
                    self.comparison = Comparison::None;
                    if let Some(path) = lock(&self.notes).compared.take() {
                        return Err(Miss::Refused(Refusal::Machine(crashes(path))));
                    }
                }
                Call::nil()
            }
            names::FORMULA => {
                let (_, core) = call.pair(&subject)?;
                let (formula, _) = call.pair(&core)?;
                lock(&self.notes).compared =
                    Some(self.compared).filter(|_| self.comparison != Comparison::Crashed);
                let alias = self.alias(call, &formula)?;
                call.share(&alias)
            }
            names::SAME => {
                let (jet, formula) = call.pair(&subject)?;
                let has_crashed = self.comparison == Comparison::Crashed;
                self.comparison = Comparison::None;
                lock(&self.notes).compared = None;
                let path = self.compared;
                let difference = if has_crashed {
                    "says that its formula crashes, which has a product"
                } else if !call.equal(&jet, &formula)? {
                    "has another product than its formula"
                } else {
                    return Ok((call.share(&formula), false));
                };
                return Err(Miss::Refused(Refusal::Machine(format!("the jet {path} {difference}"))));
            }
            _ => return Err(Miss::Refused(Refusal::Trap(TrapKind::Kind))),
        };
        Ok((answer, false))
    }
}

/// How deep in Nock within Nock.
fn level(call: &Call<'_>, noun: &Reference) -> u64 {
    call.heap.head(noun).and_then(Call::small).unwrap_or(0)
}

/// That a jet has a product where its formula crashes.
pub(crate) fn crashes(path: &str) -> String {
    format!("the jet {path} has a product, and its formula crashes")
}

/// What a jet or a service may end with where the formula is no way out any more.
fn refusal(miss: Miss) -> Refusal {
    match miss {
        Miss::Refused(refusal) => refusal,
        Miss::Crash | Miss::Punt => Refusal::Trap(TrapKind::Unreachable),
    }
}

impl Services for Server {
    fn is_of_interest(&self, mug: u32) -> bool {
        self.cold.is_warm(mug)
    }

    fn call(&mut self, call: FormulaCall<'_>, charge: Charge<'_>) -> Result<Answer, Refusal> {
        let FormulaCall { heap, subject, formula, mug, is_marked } = call;
        let mut call = Call { heap, core: subject, charge };
        match self.cold.jet(&mut call, formula, mug).map_err(refusal)? {
            None => Ok(Answer::Formula),
            Some(jet) if is_marked => self.marked_answer(&mut call, formula, jet).map_err(refusal),
            Some(jet) => self.answer(&mut call, formula, jet).map_err(refusal),
        }
    }

    fn serve(
        &mut self,
        name: &Bytes,
        heap: &mut Heap,
        subject: &Reference,
        charge: Charge<'_>,
    ) -> Result<Served, Refusal> {
        let mut call = Call { heap, core: subject, charge };
        let (product, is_new_interest) = self.ask(name, &mut call).map_err(refusal)?;
        Ok(Served { product, is_new_interest })
    }
}

/// The names with which cores are registered that have jets, or parents of them do.
pub(crate) fn hint_names() -> impl Iterator<Item = u64> {
    JETS.iter().flat_map(|jet| jet.path.split('/')).map(|name| {
        let name = name.split_once('.').map_or(name, |(name, _)| name);
        names::tag(name)
    })
}
