//! What a word says, and what was translated how.

use dotvm_frontend::{Explanation, MAX_SPANS, Scheme, Span};

use crate::blocks::{Block, Blocks, End, Known};
use crate::word::{Instruction, Load, Word, register_name};

/// An instruction word, a line each.
pub(crate) fn word(word: Word) -> Vec<String> {
    let shown = Instruction { address: 0, word, immediate: 0 }.to_string();
    let shown = if word.load() == Load::Immediate { shown.replace("#0x0", "#n") } else { shown };
    let name = |code: u8| register_name(code).unwrap_or("reserved");
    let load = match word.load() {
        Load::Register => "the source register",
        Load::Ram => "memory at the address in the source register",
        Load::Immediate => "the bytes behind the word",
        Load::None => "none",
    };
    let mut lines = vec![
        format!("{:#06x}  {shown}", word.0),
        format!("operation    {:X}  {}", word.operation(), OPERATIONS[word.operation() as usize]),
        format!("load type    {}  {load}", word.load() as u8),
        format!("load size    {}  {} bytes", word.load_size(), word.size()),
        format!("source       {:X}  {}", word.source(), name(word.source())),
        format!("destination  {:X}  {}", word.destination(), name(word.destination())),
        format!("length       {} bytes", word.bytes()),
    ];
    if let Some(fault) = word.fault() {
        lines.push(format!("raises       {fault}"));
    }
    lines
}

/// What the operations do, in the reference's words.
const OPERATIONS: [&str; 16] = [
    "Sum: d + s; overflow is the carry",
    "Subtract: d - s; overflow is the borrow",
    "Multiply: d * s; overflow if the product does not fit",
    "Divide: d / s, rounded down; exception 0 if s is 0",
    "And",
    "Or",
    "Nand: not (d and s)",
    "Nor: not (d or s)",
    "Xor",
    "Bsl: d shifted left by s; overflow if a 1 is lost",
    "Bsr: d shifted right by s",
    "Rlr: d rotated left by s",
    "Pop stack",
    "Push stack",
    "Sw Interrupt",
    "NOP",
];

/// What was translated how.
pub(crate) fn program(image: &[u8], blocks: &Blocks) -> Explanation {
    let mut explanation = Explanation::default();
    let direct = blocks.list.iter().filter(|block| block.count > 0).count();
    let instructions: usize = blocks.list.iter().map(|block| usize::from(block.count)).sum();
    let known = blocks.list.iter().filter(|block| jumps(block) && block.target().is_some()).count();
    let jumping = blocks.list.iter().filter(|block| jumps(block)).count();
    explanation.remarks = vec![
        format!("{} bytes: {instructions} instructions in {direct} blocks of direct code", image.len()),
        format!(
            "{known} of {jumping} jumps and calls have a target that is known; the others and returns go by a table"
        ),
        "the image is not writable and nothing else is executable: no code changes while it runs".to_owned(),
        if blocks.names_vectors {
            "the program names the vector table: services look for handlers once one may be set".to_owned()
        } else {
            "the program does not name the vector table: if it sets a handler all the same, the general scheme goes on from there".to_owned()
        },
    ];
    for block in &blocks.list {
        if explanation.spans.len() + 2 > MAX_SPANS {
            explanation.remarks.push("the list below is cut".to_owned());
            break;
        }
        if block.count > 0 {
            explanation.spans.push(Span {
                at: block.start.into(),
                end: block.end.into(),
                scheme: Scheme::Direct,
                why: how(block),
            });
        }
        if let End::General(why) = block.ending {
            let instruction = Instruction::decode(image, block.end);
            let end = instruction.map_or(image.len() as u32, |instruction| instruction.next());
            let shown = instruction.map_or_else(String::new, |instruction| format!("{instruction}: "));
            explanation.spans.push(Span {
                at: block.end.into(),
                end: end.into(),
                scheme: Scheme::General,
                why: format!("{shown}{why}"),
            });
        }
    }
    explanation
}

fn jumps(block: &Block) -> bool {
    matches!(block.ending, End::Transfer(0x84..=0x88))
}

fn how(block: &Block) -> String {
    let instructions = if block.count == 1 { "instruction" } else { "instructions" };
    let mut text = format!("{} {instructions}", block.count);
    if let Known::Constant(d) = block.d_in {
        text.push_str(&format!(", D is {d:#x}"));
    }
    let kind = match block.ending {
        End::Fall | End::General(_) => return text,
        End::Transfer(0x84) => "jump",
        End::Transfer(0x88) => "call",
        End::Transfer(0x89) => {
            text.push_str(", return: one jump by table");
            return text;
        }
        End::Transfer(_) => "branch",
    };
    match block.target() {
        Some(target) => text.push_str(&format!(", {kind} to {target:#x}")),
        None => text.push_str(&format!(", {kind} to D, which is computed: by table")),
    }
    text
}
