//! Jets that call gates. They run in steps between which the machine evaluates, so that none needs the host's stack.

use dotvm_heap::Reference;

use super::call::{Call, Miss};

/// What a step comes to; all references are counted.
pub(crate) enum Next {
    /// The product.
    Done(Reference),
    /// A gate is called with a sample; the next step gets its product and what is kept.
    Slam { core: Reference, formula: Reference, kept: Reference },
    /// The product is that of a gate.
    Goto { core: Reference, formula: Reference },
}

/// A jet in steps. What is kept between them is a noun; the core that the jet was called on is there in each.
#[derive(Clone, Copy)]
pub(crate) struct Step {
    pub begin: fn(&mut Call<'_>) -> Result<Next, Miss>,
    /// The gate's product, and what was kept.
    pub resume: fn(&mut Call<'_>, &Reference, &Reference) -> Result<Next, Miss>,
}

/// Calls a gate with a counted sample, keeping a counted noun.
pub(super) fn slam(
    call: &mut Call<'_>,
    gate: &Reference,
    sample: Reference,
    kept: Reference,
) -> Result<Next, Miss> {
    let (battery, payload) = call.pair(gate)?;
    let (_, context) = call.pair(&payload)?;
    let (formula, battery, context) = (call.share(&battery), call.share(&battery), call.share(&context));
    let payload = call.cons(sample, context)?;
    let core = call.cons(battery, payload)?;
    Ok(Next::Slam { core, formula, kept })
}

/// The same as the end of the jet.
pub(super) fn goto(call: &mut Call<'_>, gate: &Reference, sample: Reference) -> Result<Next, Miss> {
    match slam(call, gate, sample, Call::nil())? {
        Next::Slam { core, formula, .. } => Ok(Next::Goto { core, formula }),
        next => Ok(next),
    }
}

/// Calls a gate with the sample that it has, keeping a counted noun.
pub(super) fn pull(call: &mut Call<'_>, gate: &Reference, kept: Reference) -> Result<Next, Miss> {
    let (battery, _) = call.pair(gate)?;
    Ok(Next::Slam { core: call.share(gate), formula: call.share(&battery), kept })
}
