//! What code made of formulas asks of whoever runs it: NOCK with one of these byte strings in place of a formula. No noun
//! is a byte string, so no program can ask for them by itself.

/// { [core clue] } → { 0 }: the core is registered, as %fast says.
pub const FAST: &[u8] = b"fast";
/// { [subject formula] } → { [0 product] or 0 }: a product that was kept.
pub const RECALL: &[u8] = b"recall";
/// { [[subject formula] product] } → { 0 }: a product is kept.
pub const KEEP: &[u8] = b"keep";
/// { clue } → { 0 }: %slog.
pub const SLOG: &[u8] = b"slog";
/// { [product rest] } → { state }: a jet goes on.
pub const STEP: &[u8] = b"step";
/// { what [`VIRTUAL`] holds } → { 0 }: the jet that is called next is compared with its formula; those within are not.
pub const COMPARE: &[u8] = b"compare";
/// { [product core] } → { formula }: what a jet's product is to be compared with is the product of this on the core.
pub const FORMULA: &[u8] = b"formula";
/// { [product product] } → { product }, if both are equal.
pub const SAME: &[u8] = b"same";

/// { what [`VIRTUAL`] held within } → { 0 }: Nock within Nock has ended without a product.
pub const CAUGHT: &[u8] = b"caught";
/// Marks a formula: `[MARK formula]` means the same, and its functions keep the trace in the reference global [`TRACE`].
pub const MARK: &[u8] = b"trace";

/// The global that holds the trace, a list of `[tag clue]`, where marked formulas are evaluated.
pub const TRACE: u32 = 0;
/// The global that holds what answers 12: null, or `[level gate virtual rest]`, of which `virtual` is what [`VIRTUAL`] holds
/// outside.
pub const SCRY: u32 = 1;
/// The global that holds `[level 0]` where a formula is evaluated as Nock within Nock, else null.
pub const VIRTUAL: u32 = 2;
/// How many globals the prelude has.
pub const GLOBALS: u32 = 3;

/// The atom of a short text: its characters, the first in the low byte. Of longer texts, what is left after the first
/// eight are shifted out is lost.
pub const fn tag(name: &str) -> u64 {
    let bytes = name.as_bytes();
    let mut tag = 0;
    let mut at = bytes.len();
    while at > 0 {
        at -= 1;
        tag = tag << 8 | bytes[at] as u64;
    }
    tag
}
