//! What was translated how, and why.

use dotvm_frontend::{Explanation, MAX_SPANS, Scheme, Span};

use crate::opcode::Instruction;
use crate::routines::Routine;
use crate::translate::Program;
use crate::trees::{Tree, Trees};

/// Tells of a program.
pub(crate) fn program(program: &Program<'_>, trees: &Trees) -> Explanation {
    let image = program.image;
    let instructions: u32 = trees.list.iter().map(|tree| tree.instructions).sum();
    let locals = trees.locals.iter().filter(|count| **count > 0).count();
    let interface = if program.heap_abi { "heap" } else { "stack" };
    let mut explanation = Explanation {
        remarks: vec![
            format!(
                "{} bytes: {instructions} instructions of direct code in {} trees, each with one way in",
                image.len(),
                trees.list.len()
            ),
            format!(
                "{} of {} routines return where they were called from; outside of them {} calls are jumps and {} returns go by a \
                 table of all roots",
                trees.routines.list.iter().filter(|routine| routine.left.is_some()).count(),
                trees.routines.list.len(),
                trees.calls,
                trees.returns
            ),
            format!("{locals} locals are named; the most used are word locals"),
            format!("paths and bytes go by the {interface} interface"),
            "images that SPAWN loads are direct code if they are this program, and else the general scheme's"
                .to_owned(),
        ],
        spans: Vec::new(),
        in_lines: !program.lines.is_empty(),
    };
    let at = |address: u32| program.lines.get(address as usize).copied().unwrap_or(address).into();
    let mut spans: Vec<Span> = trees
        .list
        .iter()
        .map(|tree| Span { at: at(tree.start), end: at(tree.start), scheme: Scheme::Direct, why: how(tree) })
        .collect();
    spans.extend(trees.left.iter().map(|left| {
        let shown =
            Instruction::decode(image, left.at).map_or_else(|_| String::new(), |op| format!("{op}: "));
        Span {
            at: at(left.at),
            end: if program.lines.is_empty() { left.end.into() } else { at(left.at) },
            scheme: Scheme::General,
            why: format!("{shown}{}", left.why),
        }
    }));
    spans.extend(trees.routines.list.iter().map(|routine| {
        let (scheme, why) = returns(image, routine);
        Span { at: at(routine.entry), end: at(routine.entry), scheme, why }
    }));
    spans.sort_by_key(|span| span.at);
    if spans.len() > MAX_SPANS {
        spans.truncate(MAX_SPANS);
        explanation.remarks.push("the list below is cut".to_owned());
    }
    explanation.spans = spans;
    explanation
}

/// What is proved of a tree, and what it checks.
fn how(tree: &Tree) -> String {
    let needs = &tree.needs;
    let plural = if tree.instructions == 1 { "" } else { "s" };
    let mut text = format!("tree of {} instruction{plural}", tree.instructions);
    let mut checks = Vec::new();
    if needs.low < 0 {
        checks.push(format!("{} cells on the stack", -needs.low));
    }
    if needs.high > 0 {
        checks.push(format!("room for {}", needs.high));
    }
    if let Some(below) = needs.below_frame {
        checks.push(format!("a frame with {below} cells below it"));
    }
    if !checks.is_empty() {
        text.push_str(&format!(", checks once: {}", checks.join(", ")));
    }
    text
}

/// What is proved of a routine, or why nothing is.
fn returns(image: &[u8], routine: &Routine) -> (Scheme, String) {
    if let Some(left) = routine.left {
        let mut text = format!(
            "routine of {} instructions, called from {} places, returns there with the stack at {:+}",
            routine.instructions,
            routine.callers,
            left + 1
        );
        if routine.depth > 0 {
            text.push_str(&format!("; its calls are part of it {} deep", routine.depth));
        }
        return (Scheme::Direct, text);
    }
    let why = match routine.why {
        Some((address, why)) => {
            let shown =
                Instruction::decode(image, address).map_or_else(|_| String::new(), |op| format!("{op} "));
            format!("{shown}at {address:#x} {why}")
        }
        None => "no path was followed to a return".to_owned(),
    };
    (Scheme::General, format!("routine whose calls and returns are jumps: {why}"))
}
