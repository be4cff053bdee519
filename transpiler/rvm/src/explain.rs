//! What was translated how.

use dotvm_frontend::{Explanation, MAX_SPANS, Scheme, Span};

use crate::analysis::{Unit, analyse, apply};
use crate::classify::{How, Next, classify};
use crate::isa;
use crate::program::{Inst, Program, code};

/// The instruction for people.
fn shown(inst: Inst) -> &'static str {
    match inst.op {
        code::LIBRARY => {
            crate::library::Function::ALL.get(inst.arg as usize).map_or("call", |function| function.names().1)
        }
        code::ELEMENT | code::ELEMENT_GLOBAL | code::ELEMENT_CONSTANT => "store into a cell",
        code::STORE_R8 | code::STORE_R9 | code::STORE_CONSTANT | code::STORE_GLOBAL => "store",
        code::INVALID => "an unknown opcode",
        code::END_OF_BUFFER => "the end",
        op => isa::name(op).unwrap_or("push"),
    }
}

/// The units of a program, and the instructions of direct ones that the general scheme does.
pub(crate) fn program(program: &Program) -> Explanation {
    let analysis = analyse(program);
    let place = |inst: u32| u64::from(program.places.get(inst as usize).copied().unwrap_or(0));
    let is_main = |unit: usize| program.units[unit].module == 0;
    let mut spans = Vec::new();
    for (number, found) in analysis.units.iter().enumerate().filter(|unit| is_main(unit.0)) {
        let source = &program.units[number];
        let name = match &source.name {
            Some(name) => format!("subroutine {}", String::from_utf8_lossy(name)),
            None => "the code outside of subroutines".to_owned(),
        };
        let Unit { need, delta, why, blocks, .. } = found;
        let (scheme, why) = match why {
            Some(why) => (Scheme::General, format!("{name}: {}", why.text())),
            None => {
                let leaves = delta.map_or("does not return".to_owned(), |delta| {
                    format!("leaves {}", *need as isize + delta)
                });
                (
                    Scheme::Direct,
                    format!("{name}: takes {need}, {leaves}; {} blocks with known types", blocks.len()),
                )
            }
        };
        let (at, end) = (place(source.begin), place(source.end.saturating_sub(1)));
        spans.push(Span { at, end, scheme, why });
        for (start, state) in blocks {
            let mut state = state.clone();
            let mut at = *start;
            loop {
                let inst = program.insts[at as usize];
                let act = classify(program, &analysis, inst, &state);
                if matches!(act.how, How::General | How::Awaits(_)) && inst.op != code::END_OF_BUFFER {
                    let why = format!(
                        "{} is left to the general scheme: its types are not known, or it always is",
                        shown(inst)
                    );
                    spans.push(Span { at: place(at), end: place(at + 1), scheme: Scheme::General, why });
                }
                if act.next != Next::On || act.how == How::General || !apply(&mut state, &act) {
                    break;
                }
                at += 1;
                if blocks.binary_search_by_key(&at, |block| block.0).is_ok() {
                    break;
                }
            }
        }
    }
    spans.sort_by_key(|span| span.at);
    spans.truncate(MAX_SPANS);
    let direct = analysis.units.iter().filter(|unit| unit.why.is_none()).count();
    let mut remarks = vec![format!("{direct} of {} units have direct code", analysis.units.len())];
    if analysis.forged {
        remarks.push(
            "ptrs are made of numbers, so what they point to is looked at by the general scheme".to_owned(),
        );
    }
    Explanation { remarks, spans, in_lines: program.has_lines }
}
