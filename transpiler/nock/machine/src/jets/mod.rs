//! Jets: what this machine does itself in place of formulas that the standard library of Hoon declares with %fast.
//!
//! A jet answers as its formula would, or leaves it to the formula. It is found by the path that a core was registered
//! with, and is called where the core's battery, its parent's, and so on to the root, are those that were registered.

mod bits;
mod call;
mod hash;
mod lists;
mod math;
mod nouns;
mod parse;
mod steps;
mod text;

pub(crate) use call::{Call, Miss, Product};
pub(crate) use steps::{Next, Step};

/// How a jet works.
#[derive(Clone, Copy)]
pub(crate) enum Work {
    /// At once.
    Now(fn(&mut Call<'_>) -> Product),
    /// In steps between which gates are called.
    Steps(Step),
    /// The formula is evaluated, and its product is kept by the whole core.
    Memo,
    /// Nock within Nock.
    Mink,
    /// The product of a trap, or of the formula where the trap crashes.
    Attempt,
}

/// A jet: the path of a core, and what is done for the arm at axis 1 of its battery, which is the battery of a gate.
pub(crate) struct Jet {
    /// The name of the root and those of the cores from there on.
    pub path: &'static str,
    pub work: Work,
}

macro_rules! jets {
    ($($path:literal $work:expr;)*) => {
        /// All jets.
        pub(crate) static JETS: &[Jet] = &[$(Jet { path: concat!("k.138/one/", $path), work: $work }),*];
    };
}

use Work::{Attempt, Memo, Mink, Now, Steps};

jets! {
    "add" Now(math::add);
    "dec" Now(math::dec);
    "div" Now(math::div);
    "dvr" Now(math::dvr);
    "gte" Now(math::gte);
    "gth" Now(math::gth);
    "lte" Now(math::lte);
    "lth" Now(math::lth);
    "max" Now(math::max);
    "min" Now(math::min);
    "mod" Now(math::rem);
    "mul" Now(math::mul);
    "sub" Now(math::sub);
    "cap" Now(math::cap);
    "mas" Now(math::mas);
    "peg" Now(math::peg);
    "two/find" Now(lists::find);
    "two/flop" Now(lists::flop);
    "two/lent" Now(lists::lent);
    "two/levy" Steps(lists::LEVY);
    "two/reap" Now(lists::reap);
    "two/roll" Steps(lists::ROLL);
    "two/scag" Now(lists::scag);
    "two/snag" Now(lists::snag);
    "two/snip" Now(lists::snip);
    "two/turn" Steps(lists::TURN);
    "two/weld" Now(lists::weld);
    "two/zing" Now(lists::zing);
    "two/bex" Now(bits::bex);
    "two/can" Now(bits::can);
    "two/cat" Now(bits::cat);
    "two/cut" Now(bits::cut);
    "two/end" Now(bits::end);
    "two/lsh" Now(bits::lsh);
    "two/met" Now(bits::met);
    "two/rap" Now(bits::rap);
    "two/rep" Now(bits::rep);
    "two/rev" Now(bits::rev);
    "two/rip" Now(bits::rip);
    "two/rsh" Now(bits::rsh);
    "two/sew" Now(bits::sew);
    "two/xeb" Now(bits::xeb);
    "two/con" Now(bits::con);
    "two/dis" Now(bits::dis);
    "two/mix" Now(bits::mix);
    "two/mug" Now(nouns::mug);
    "two/dor" Now(nouns::dor);
    "two/gor" Now(nouns::gor);
    "two/mor" Now(nouns::mor);
    "two/cue" Now(nouns::cue);
    "two/jam" Now(nouns::jam);
    "two/tri/shas" Now(hash::shas);
    "two/tri/shax" Now(hash::shax);
    "two/tri/shay" Now(hash::shay);
    "two/tri/shal" Now(hash::shal);
    "two/tri/qua/trip" Now(text::trip);
    "two/tri/qua/last" Now(text::last);
    "two/tri/qua/bend/fun" Steps(parse::BEND);
    "two/tri/qua/comp/fun" Steps(parse::COMP);
    "two/tri/qua/glue/fun" Steps(parse::GLUE);
    "two/tri/qua/pfix" Steps(parse::PFIX);
    "two/tri/qua/plug" Steps(parse::PLUG);
    "two/tri/qua/pose" Steps(parse::POSE);
    "two/tri/qua/sfix" Steps(parse::SFIX);
    "two/tri/qua/cold/fun" Steps(parse::COLD);
    "two/tri/qua/cook/fun" Steps(parse::COOK);
    "two/tri/qua/easy/fun" Now(parse::easy);
    "two/tri/qua/here/fun" Steps(parse::HERE);
    "two/tri/qua/just/fun" Now(parse::just);
    "two/tri/qua/mask/fun" Now(parse::mask);
    "two/tri/qua/shim/fun" Now(parse::shim);
    "two/tri/qua/stag/fun" Steps(parse::STAG);
    "two/tri/qua/stew/fun" Steps(parse::STEW);
    "two/tri/qua/stir/fun" Steps(parse::STIR);
    "two/tri/qua/mink" Mink;
    "two/tri/qua/mole" Attempt;
    "two/tri/qua/mule" Attempt;
    "two/tri/qua/pen/ut/crop" Memo;
    "two/tri/qua/pen/ut/fish" Memo;
    "two/tri/qua/pen/ut/fuse" Memo;
    "two/tri/qua/pen/ut/mint" Memo;
    "two/tri/qua/pen/ut/mull" Memo;
    "two/tri/qua/pen/ut/redo" Memo;
    "two/tri/qua/pen/ut/nest/nest-in/nest-dext" Memo;
    "two/tri/qua/pen/ut/rest" Memo;
}
